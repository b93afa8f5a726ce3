// HttpConnection: HTTP/1.1 on one connection: heads in, bodies straight into
// their storage, replies gathered from shared buffers. Blocking; used by one
// thread. Knows the pace of the fault plan, but nothing of S3.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "s3server/digest.h"
#include "s3server/fault_plan.h"
#include "s3server/http_message.h"
#include "s3server/pattern.h"
#include "s3server/stream.h"

namespace ckptfs::s3server {

class HttpConnection {
 public:
  // Does not own the socket. All must outlive the connection.
  HttpConnection(int socket, Stream& stream, FaultPlan& plan,
                 std::shared_ptr<BufferPool> pool);

  enum class ReadResult {
    kOk,
    kClosed,     // by the peer, or broken
    kMalformed,  // not HTTP as we know it
    kTooLarge,   // more than a PUT may have
    kStopped,    // the byte to stop at was reached
  };
  // The head of the next request.
  ReadResult ReadRequest(Request* request);

  struct BodyPlan {
    enum class Storage { kKeep, kPattern, kDrop };
    // kPattern keeps the length only (Content::Pattern).
    Storage storage = Storage::kKeep;
    Digest* digest = nullptr;  // sees the bytes while they are in cache
    std::optional<std::uint64_t> stop_at = std::nullopt;
  };
  // The body that belongs to `request`, into request->body. Answers
  // Expect: 100-continue first.
  ReadResult ReadBody(Request* request, const BodyPlan& plan);

  // Head and body; the body only up to `stop_at`. False if the peer is gone.
  bool Send(const Response& response, bool keep_alive, bool with_body,
            std::optional<std::uint64_t> stop_at = std::nullopt);

  // Closing the socket afterwards sends RST. Waits (a second at most) until the
  // peer has what was sent before: RST would discard it.
  void PrepareReset();

  // Body bytes of the current request and its reply.
  std::uint64_t bytes_in() const { return bytes_in_; }
  std::uint64_t bytes_out() const { return bytes_out_; }

  static constexpr std::uint64_t kMaxBodyBytes = 5ULL << 30;  // S3's PUT limit

 private:
  // Paces one direction: a token bucket of five milliseconds.
  class Pace {
   public:
    // Sleeps as long as `bytes` take at `bytes_per_s`. False if stopped.
    bool Spend(FaultPlan& plan, std::size_t bytes, std::int64_t bytes_per_s);

   private:
    std::chrono::steady_clock::time_point next_{};
  };

  // > 0: bytes read, from what is buffered first.
  ssize_t Read(char* out, std::size_t size);
  bool WriteAll(iovec* pieces, int count);
  bool WriteAll(std::string_view bytes);
  std::optional<std::string> ReadLine();
  // `size` bytes through storage, digest and stop.
  ReadResult ReceiveRun(std::uint64_t size, const BodyPlan& plan,
                        Content* content);
  ReadResult ReceiveChunked(const BodyPlan& plan, Content* content);

  const int socket_;
  Stream& stream_;
  FaultPlan& plan_;
  const std::shared_ptr<BufferPool> pool_;
  Pace in_pace_;
  Pace out_pace_;
  std::string buffered_;  // received, not consumed: from begin_ on
  std::size_t begin_ = 0;
  std::unique_ptr<char[]> scratch_;        // of dropped bodies
  std::unique_ptr<PatternBlock> pattern_;  // made on first use
  std::uint64_t bytes_in_ = 0;
  std::uint64_t bytes_out_ = 0;
};

}  // namespace ckptfs::s3server
