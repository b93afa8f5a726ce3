// ReadAhead: one version of a file, read in pieces of any size by somebody who
// waits: few requests for many small reads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>

#include "checkpoint/engine/engine_runtime.h"
#include "checkpoint/io/byte_source.h"
#include "checkpoint/io/part_buffers.h"

namespace ckptfs {

// The file's first and last megabyte stay in memory once they were read: there
// the formats have their directories. What follows the latest read is fetched
// ahead, the more the longer the reads go on in order, up to
// EngineOptions::stream_bytes. Large reads take the rest straight into the
// caller's memory.
//
// Not thread-safe; not for the threads of the runtime, which outlives it.
class ReadAhead {
 public:
  // Waits for `future`; where it must not wait any longer it asks `stop`, which
  // ends the future with an error, and waits for that.
  using Waiter =
      std::function<Result<void>(Future<void> future, std::stop_source stop)>;

  // One request, on the strand. Errors of Files::Source and ByteSource::Open.
  static Task<Result<std::unique_ptr<ReadAhead>>> Open(
      internal::EngineRuntime& runtime, std::string path, std::stop_token stop);
  // Ends what is under way, and waits for it.
  ~ReadAhead();
  ReadAhead(const ReadAhead&) = delete;
  ReadAhead& operator=(const ReadAhead&) = delete;

  const std::string& name() const { return source_->name(); }
  std::uint64_t size() const { return size_; }

  // Fills `into` with the bytes from `offset` on; fewer only where the file
  // ends. Nothing writes there any more when it returns, with an error too. The
  // errors of ByteSource::Read.
  Result<std::uint64_t> Read(std::uint64_t offset, std::span<std::byte> into,
                             const Waiter& wait);

 private:
  // Bytes of the file, there or on their way.
  struct Window {
    std::uint64_t begin = 0;
    std::shared_ptr<std::string> bytes;
    std::optional<Future<void>> coming;
    std::stop_source stop;

    bool Covers(std::uint64_t at) const {
      return bytes != nullptr && at >= begin && at - begin < bytes->size();
    }
    std::uint64_t end() const { return begin + bytes->size(); }
  };

  ReadAhead(internal::EngineRuntime& runtime,
            std::shared_ptr<ByteSource> source, std::uint64_t size,
            std::shared_ptr<std::string> head);

  std::size_t Copy(const Window& window, std::uint64_t at,
                   std::span<std::byte> into) const;
  Window Fetch(std::uint64_t begin, std::uint64_t end);
  Result<void> Arrive(Window& window, const Waiter& wait);
  // Ends and forgets all of ahead_.
  void DropAhead(const Waiter& wait);
  // Forgets what lies before `at`, and fetches what may be wanted next.
  void Advance(std::uint64_t at);
  Result<void> ReadLarge(std::uint64_t at, std::span<std::byte> into,
                         const Waiter& wait);

  internal::EngineRuntime& runtime_;
  const std::shared_ptr<ByteSource> source_;
  const std::uint64_t size_;
  const std::uint64_t max_reach_;
  const Window head_;
  Window tail_;
  std::deque<Window> ahead_;  // neighbours, in order
  PartBuffers buffers_;       // of ahead_
  // How far to read ahead of the last read's end.
  std::uint64_t reach_ = 0;
  std::uint64_t last_end_ = 0;
};

}  // namespace ckptfs
