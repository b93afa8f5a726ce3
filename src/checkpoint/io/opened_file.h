// OpenedFile: a source that is open, with its first bytes: enough to tell the
// format, and often all that a reader needs of it.
#pragma once

#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>

#include "checkpoint/io/byte_source.h"

namespace ckptfs {

// On the executor of the source, which it owns.
class OpenedFile {
 public:
  // Holds the headers of most files; costs little more than the round trip.
  static constexpr std::uint64_t kHeadBytes = 1ull << 20;

  // One request, for the first `head_bytes`. Errors: those of
  // ByteSource::Open.
  static Task<Result<OpenedFile>> Open(std::unique_ptr<ByteSource> source,
                                       std::stop_token stop,
                                       std::uint64_t head_bytes = kHeadBytes);

  const std::string& name() const { return source_->name(); }
  std::uint64_t size() const { return size_; }
  // The first bytes of the file, or all of it.
  std::string_view head() const { return head_; }

  // As ByteSource::Read, but that what the head has is copied from it.
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
};

}  // namespace ckptfs
