#include "transfer/part_plan.h"

#include <algorithm>
#include <string>

namespace ckptfs {

PartPlan PartPlan::Ladder(std::uint64_t base, std::uint64_t max_part) {
  return PartPlan(base, std::max(base, max_part));
}

Result<PartPlan> PartPlan::Fixed(std::uint64_t part_bytes) {
  if (part_bytes < kMinPartBytes || part_bytes > kMaxPartBytes) {
    return Fail(ErrorCode::kInvalidArgument,
                "a part size of " + std::to_string(part_bytes) +
                    " bytes is outside S3's limits of 5 MiB to 5 GiB");
  }
  return PartPlan(part_bytes, part_bytes);
}

Result<PartPlan> PartPlan::ForSize(std::uint64_t total,
                                   std::uint64_t preferred) {
  constexpr std::uint64_t kMiB = 1ull << 20;
  // 9,900 and not 10,000: a little room for what the size did not foresee.
  constexpr std::uint64_t kTargetParts = 9'900;
  if (total > kMaxPartBytes * kMaxParts) {
    return Fail(ErrorCode::kTooLarge,
                std::to_string(total) +
                    " bytes exceed 10,000 parts of 5 GiB (48.8 TiB)");
  }
  const std::uint64_t needed =
      (total / kTargetParts + kMiB) / kMiB * kMiB;
  return Fixed(std::min(kMaxPartBytes, std::max(preferred, needed)));
}

std::uint64_t PartPlan::Size(int part_number) const {
  const int rung = (part_number - 1) / kPartsPerRung;
  std::uint64_t size = base_;
  for (int i = 0; i < rung && size < max_part_; ++i) {
    size = std::min(size * 2, max_part_);
  }
  return size;
}

std::uint64_t PartPlan::Offset(int part_number) const {
  std::uint64_t offset = 0;
  int number = 1;
  while (number < part_number) {
    const int in_rung =
        std::min(kPartsPerRung - (number - 1) % kPartsPerRung,
                 part_number - number);
    offset += Size(number) * static_cast<std::uint64_t>(in_rung);
    number += in_rung;
  }
  return offset;
}

std::optional<int> PartPlan::PartAt(std::uint64_t offset) const {
  std::uint64_t start = 0;
  for (int number = 1; number <= kMaxParts; number += kPartsPerRung) {
    const std::uint64_t size = Size(number);
    if (offset < start + size * kPartsPerRung) {
      return number + static_cast<int>((offset - start) / size);
    }
    start += size * kPartsPerRung;
  }
  return std::nullopt;
}

}  // namespace ckptfs
