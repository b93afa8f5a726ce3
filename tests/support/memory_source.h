// MemorySource: a file that is in memory.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>
#include <string>

#include "checkpoint/io/byte_source.h"

namespace ckptfs {

class MemorySource final : public ByteSource {
 public:
  // `file` outlives the source.
  explicit MemorySource(std::span<const std::byte> file) : file_(file) {}

  const std::string& name() const override { return name_; }

  Task<Result<std::uint64_t>> Open(Destination first,
                                   std::stop_token) override {
    Fill(0, first);
    co_return file_.size();
  }

  Task<Result<void>> Read(std::uint64_t offset, Destination destination,
                          std::stop_token) override {
    if (offset > file_.size() || destination.size() > file_.size() - offset) {
      co_return Fail(ErrorCode::kInvalidArgument, "ends before that");
    }
    Fill(offset, destination);
    co_return Result<void>();
  }

 private:
  void Fill(std::uint64_t offset, const Destination& destination) {
    for (const std::span<std::byte> segment : destination.segments) {
      const std::size_t n =
          std::min<std::size_t>(segment.size(), file_.size() - offset);
      if (n > 0) std::memcpy(segment.data(), file_.data() + offset, n);
      offset += n;
    }
  }

  const std::span<const std::byte> file_;
  const std::string name_ = "input.pt";
};

}  // namespace ckptfs
