#include "transfer/part_plan.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace ckptfs {
namespace {

constexpr std::uint64_t kMiB = 1ull << 20;
constexpr std::uint64_t kGiB = 1ull << 30;

// Parts follow each other without gap or overlap, and PartAt is the inverse.
void CheckPlan(const PartPlan& plan) {
  ASSERT_EQ(plan.Offset(1), 0u);
  for (int n = 1; n <= kMaxParts; ++n) {
    const std::uint64_t begin = plan.Offset(n);
    const std::uint64_t end = begin + plan.Size(n);
    ASSERT_GT(plan.Size(n), 0u);
    if (n < kMaxParts) {
      ASSERT_EQ(plan.Offset(n + 1), end) << n;
    }
    ASSERT_EQ(plan.PartAt(begin), n);
    ASSERT_EQ(plan.PartAt(begin + plan.Size(n) / 2), n);
    ASSERT_EQ(plan.PartAt(end - 1), n);
  }
  EXPECT_EQ(plan.PartAt(plan.MaxBytes() - 1), kMaxParts);
  EXPECT_EQ(plan.PartAt(plan.MaxBytes()), std::nullopt);
}

TEST(PartPlan, LadderOfTheFileSystem) {
  const PartPlan plan = PartPlan::Ladder(8 * kMiB, 64 * kMiB);
  CheckPlan(plan);
  EXPECT_EQ(plan.Size(1000), 8 * kMiB);
  EXPECT_EQ(plan.Size(1001), 16 * kMiB);
  EXPECT_EQ(plan.Size(2001), 32 * kMiB);
  EXPECT_EQ(plan.Size(3001), 64 * kMiB);
  EXPECT_EQ(plan.Size(10'000), 64 * kMiB);
  EXPECT_EQ(plan.MaxBytes(), (1000 * (8 + 16 + 32) + 7000 * 64) * kMiB);
  EXPECT_EQ(plan.MaxBytes() / kGiB, 492u);
}

TEST(PartPlan, AnyPlanIsConsistent) {
  std::mt19937_64 random(20240611);
  for (int round = 0; round < 30; ++round) {
    const std::uint64_t base =
        kMinPartBytes + random() % (kMaxPartBytes - kMinPartBytes + 1);
    const std::uint64_t top = base + random() % (kMaxPartBytes - base + 1);
    SCOPED_TRACE(testing::Message() << base << " up to " << top);
    CheckPlan(PartPlan::Ladder(base, top));
    CheckPlan(*PartPlan::Fixed(base));
  }
  CheckPlan(PartPlan::Ladder(kMaxPartBytes, kMaxPartBytes));
}

TEST(PartPlan, FixedKeepsToTheLimits) {
  EXPECT_TRUE(PartPlan::Fixed(kMinPartBytes).has_value());
  EXPECT_TRUE(PartPlan::Fixed(kMaxPartBytes).has_value());
  EXPECT_EQ(PartPlan::Fixed(kMinPartBytes - 1).error().code(),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(PartPlan::Fixed(kMaxPartBytes + 1).error().code(),
            ErrorCode::kInvalidArgument);
}

TEST(PartPlan, ForSizeHoldsWhatWasAskedFor) {
  const std::uint64_t largest = kMaxParts * kMaxPartBytes;  // 48.8 TiB
  std::mt19937_64 random(7);
  std::vector<std::uint64_t> totals = {0,
                                       1,
                                       8 * kMiB,
                                       9'900 * 8 * kMiB,
                                       9'900 * 8 * kMiB + 1,
                                       9'900 * kMaxPartBytes + 1,
                                       largest - 1,
                                       largest};
  for (int i = 0; i < 1000; ++i) totals.push_back(random() % largest);
  for (const std::uint64_t total : totals) {
    const Result<PartPlan> plan = PartPlan::ForSize(total, 8 * kMiB);
    ASSERT_TRUE(plan.has_value()) << total;
    EXPECT_GE(plan->MaxBytes(), total);
    EXPECT_EQ(plan->Size(1), plan->Size(kMaxParts));
    EXPECT_GE(plan->Size(1), 8 * kMiB);
    EXPECT_LE(plan->Size(1), kMaxPartBytes);
    EXPECT_EQ(plan->Size(1) % kMiB, 0u);
  }
  EXPECT_EQ(PartPlan::ForSize(100 * kGiB, 64 * kMiB)->Size(1), 64 * kMiB);
  EXPECT_EQ(PartPlan::ForSize(largest + 1, 8 * kMiB).error().code(),
            ErrorCode::kTooLarge);
}

}  // namespace
}  // namespace ckptfs
