// OpenedFile: a source that is open, with its first and, where a format keeps
// its directory there, its last bytes: enough to tell the format, and of a
// small file all that a reader needs.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "checkpoint/io/byte_source.h"

namespace ckptfs {

// On the executor of the source, which it owns.
class OpenedFile {
 public:
  // Holds the headers of most files, and the whole of one with a MiB of
  // tensors; costs little more than the round trip.
  static constexpr std::uint64_t kHeadBytes = (1ull << 20) + (64ull << 10);

  // One request, for the first `head_bytes`. Errors: those of
  // ByteSource::Open.
  static Task<Result<OpenedFile>> Open(std::unique_ptr<ByteSource> source,
                                       std::stop_token stop,
                                       std::uint64_t head_bytes = kHeadBytes);

  const std::string& name() const { return source_->name(); }
  std::uint64_t size() const { return size_; }
  // The first bytes of the file, or all of it.
  std::string_view head() const { return head_; }

  // The last `bytes` of the file, or all of it. One request, none if the head
  // has them; they are kept, so that no later read fetches them again. At most
  // once. Valid until this moves or ends.
  Task<Result<std::string_view>> FetchTail(std::uint64_t bytes,
                                           std::stop_token stop);

  // A range that the head has, or the tail; nullopt: neither has all of it. On
  // any thread, once FetchTail has ended: nothing changes any more.
  std::optional<std::string_view> Held(std::uint64_t offset,
                                       std::uint64_t bytes) const;

  // As ByteSource::Read, but that what the head or the tail has is copied from
  // there.
  Task<Result<void>> Read(std::uint64_t offset, Destination destination,
                          std::stop_token stop);
  // Likewise. REQUIRES: the range lies inside the file, and `bytes` is what the
  // caller can afford.
  Task<Result<std::string>> Bytes(std::uint64_t offset, std::uint64_t bytes,
                                  std::stop_token stop);

 private:
  OpenedFile(std::unique_ptr<ByteSource> source, std::uint64_t size,
             std::string head)
      : source_(std::move(source)), size_(size), head_(std::move(head)) {}

  std::unique_ptr<ByteSource> source_;
  std::uint64_t size_ = 0;
  std::string head_;
  std::string tail_;  // empty until FetchTail, and where the head is all
};

}  // namespace ckptfs
