#include "checkpoint/dcp/item_source.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace ckptfs {

bool FetchedRanges::CopyTo(std::uint64_t offset,
                           const Destination& destination) const {
  auto after = ranges_.upper_bound(offset);
  if (after == ranges_.begin()) return false;
  const auto& [begin, bytes] = *std::prev(after);
  const std::uint64_t skip = offset - begin;
  if (skip > bytes->size() || destination.size() > bytes->size() - skip) {
    return false;
  }
  const char* from = bytes->data() + skip;
  for (const std::span<std::byte> segment : destination.segments) {
    if (segment.empty()) continue;
    std::memcpy(segment.data(), from, segment.size());
    from += segment.size();
  }
  return true;
}

Task<Result<std::uint64_t>> ItemSource::Open(Destination first,
                                             std::stop_token stop) {
  std::uint64_t left = length_;
  for (std::span<std::byte>& segment : first.segments) {
    segment = segment.first(std::min<std::uint64_t>(segment.size(), left));
    left -= segment.size();
  }
  Result<void> read = co_await Read(0, std::move(first), std::move(stop));
  CKPTFS_CO_RETURN_IF_ERROR(read);
  co_return length_;
}

Task<Result<void>> ItemSource::Read(std::uint64_t offset,
                                    Destination destination,
                                    std::stop_token stop) {
  if (offset > length_ || destination.size() > length_ - offset) {
    co_return Fail(ErrorCode::kInvalidArgument,
                   name_ + " ends before byte " +
                       std::to_string(offset + destination.size()));
  }
  if (fetched_.CopyTo(offset_ + offset, destination)) co_return Result<void>();
  Result<void> read = co_await file_.Read(
      offset_ + offset, std::move(destination), std::move(stop));
  co_return read;
}

}  // namespace ckptfs
