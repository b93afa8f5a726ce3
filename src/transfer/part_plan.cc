#include "transfer/part_plan.h"

#include <algorithm>
#include <cassert>
#include <string>

namespace ckptfs {
namespace {

// Leaves 100 part numbers free for a file that grows a little past the size
// that was announced.
constexpr std::uint64_t kPlannedParts = 9'900;
constexpr std::uint64_t kMiB = 1ull << 20;
constexpr std::uint64_t kMaxObjectBytes = kMaxParts * kMaxPartBytes;

}  // namespace

PartPlan PartPlan::Ladder(std::uint64_t base, std::uint64_t max_part) {
  assert(base >= 1 && base <= max_part && max_part <= kMaxPartBytes);
  return PartPlan(base, max_part);
}

Result<PartPlan> PartPlan::Fixed(std::uint64_t part_bytes) {
  if (part_bytes < kMinPartBytes || part_bytes > kMaxPartBytes) {
    return Fail(ErrorCode::kInvalidArgument,
                "a part size of " + std::to_string(part_bytes) +
                    " bytes is outside of S3's 5 MiB to 5 GiB");
  }
  return PartPlan(part_bytes, part_bytes);
}

Result<PartPlan> PartPlan::ForSize(std::uint64_t total,
                                   std::uint64_t preferred) {
  if (total > kMaxObjectBytes) {
    return Fail(ErrorCode::kTooLarge,
                std::to_string(total) +
                    " bytes exceed what S3 takes as one object, 48.8 TiB");
  }
  const std::uint64_t needed = (total + kPlannedParts - 1) / kPlannedParts;
  const std::uint64_t rounded = (needed + kMiB - 1) / kMiB * kMiB;
  return Fixed(
      std::clamp(std::max(preferred, rounded), kMinPartBytes, kMaxPartBytes));
}

std::uint64_t PartPlan::Size(int part_number) const {
  assert(part_number >= 1 && part_number <= kMaxParts);
  const int rung = (part_number - 1) / kPartsPerRung;
  // At most 9 doublings of at most 5 GiB: no overflow.
  return std::min(base_ << rung, max_part_);
}

std::uint64_t PartPlan::Offset(int part_number) const {
  assert(part_number >= 1 && part_number <= kMaxParts);
  const int rung = (part_number - 1) / kPartsPerRung;
  std::uint64_t offset = 0;
  for (int r = 0; r < rung; ++r) {
    offset += kPartsPerRung * std::min(base_ << r, max_part_);
  }
  const int inside = (part_number - 1) % kPartsPerRung;
  return offset + static_cast<std::uint64_t>(inside) * Size(part_number);
}

std::optional<int> PartPlan::PartAt(std::uint64_t offset) const {
  std::uint64_t begin = 0;
  for (int rung = 0; rung * kPartsPerRung < kMaxParts; ++rung) {
    const std::uint64_t size = std::min(base_ << rung, max_part_);
    const std::uint64_t end = begin + kPartsPerRung * size;
    if (offset < end) {
      return rung * kPartsPerRung + static_cast<int>((offset - begin) / size) +
             1;
    }
    begin = end;
  }
  return std::nullopt;
}

}  // namespace ckptfs
