// PartPlan: where the parts of an upload begin and end.
#pragma once

#include <ckptfs/result.h>

#include <cstdint>
#include <optional>

namespace ckptfs {

// S3's limits (Amazon S3 User Guide, "Multipart upload limits").
inline constexpr int kMaxParts = 10'000;
inline constexpr std::uint64_t kMinPartBytes = 5ull << 20;
inline constexpr std::uint64_t kMaxPartBytes = 5ull << 30;

// Value type. Part numbers run from 1. Sizes are a function of the number
// alone, so a byte's part never changes while the file grows.
class PartPlan {
 public:
  // A stream whose size is not known: parts of `base` bytes, doubled after
  // every 1,000 parts up to `max_part`. Holds up to MaxBytes() bytes, which
  // for 8 MiB and 64 MiB is 1000 * (8 + 16 + 32) MiB + 7000 * 64 MiB = 492 GiB.
  static PartPlan Ladder(std::uint64_t base, std::uint64_t max_part);
  // Equal parts; used when the size is known or the user fixed the part size.
  // kInvalidArgument outside [5 MiB, 5 GiB].
  static Result<PartPlan> Fixed(std::uint64_t part_bytes);
  // Equal parts for `total` bytes: max(preferred, total / 9,900 rounded up to
  // 1 MiB). kTooLarge above 48.8 TiB.
  static Result<PartPlan> ForSize(std::uint64_t total, std::uint64_t preferred);

  std::uint64_t Offset(int part_number) const;
  std::uint64_t Size(int part_number) const;
  // The part that holds byte `offset`; nullopt past part 10,000.
  std::optional<int> PartAt(std::uint64_t offset) const;
  std::uint64_t MaxBytes() const { return Offset(kMaxParts) + Size(kMaxParts); }

  friend bool operator==(const PartPlan&, const PartPlan&) = default;

 private:
  static constexpr int kPartsPerRung = 1000;
  PartPlan(std::uint64_t base, std::uint64_t max_part)
      : base_(base), max_part_(max_part) {}
  std::uint64_t base_;
  std::uint64_t max_part_;  // == base_: equal parts
};

}  // namespace ckptfs
