#include "checkpoint/dcp/part_cutter.h"

#include <algorithm>

namespace ckptfs {

Payload PartCutter::TakePending() {
  Payload part;
  part.segments = std::exchange(pending_, {});
  part.owner = std::make_shared<const Owners>(std::exchange(owners_, {}));
  pending_bytes_ = 0;
  return part;
}

Task<Result<void>> PartCutter::Write(Payload payload) {
  const std::uint64_t part_bytes = sink_.part_bytes();
  for (std::span<const std::byte> segment : payload.segments) {
    while (!segment.empty()) {
      const std::uint64_t n =
          std::min<std::uint64_t>(segment.size(), part_bytes - pending_bytes_);
      if (owners_.empty() || owners_.back() != payload.owner) {
        owners_.push_back(payload.owner);
      }
      pending_.push_back(segment.first(n));
      pending_bytes_ += n;
      segment = segment.subspan(n);
      if (pending_bytes_ < part_bytes) continue;
      Payload part = TakePending();
      Result<void> wrote = co_await sink_.Write(std::move(part));
      CKPTFS_CO_RETURN_IF_ERROR(wrote);
    }
  }
  co_return Result<void>();
}

Task<Result<void>> PartCutter::Flush() {
  if (pending_bytes_ == 0) co_return Result<void>();
  Payload part = TakePending();
  Result<void> wrote = co_await sink_.Write(std::move(part));
  co_return wrote;
}

Task<Result<void>> PartCutter::Commit(WriteCondition condition) {
  Result<void> flushed = co_await Flush();
  CKPTFS_CO_RETURN_IF_ERROR(flushed);
  Result<void> committed = co_await sink_.Commit(std::move(condition));
  co_return committed;
}

}  // namespace ckptfs
