#include "common/memory_budget.h"

#include <gtest/gtest.h>

#include <utility>

namespace ckptfs {
namespace {

TEST(MemoryBudget, ServesWaitersInOrderAndNobodyOvertakes) {
  MemoryBudget budget(100);
  Reservation first = *budget.TryReserve(80);
  Future<Reservation> large = budget.Reserve(60);
  Future<Reservation> small = budget.Reserve(10);
  EXPECT_FALSE(large.ready());
  EXPECT_FALSE(small.ready());  // 10 would fit, but `large` came first
  EXPECT_FALSE(budget.TryReserve(1).has_value());
  first.Release();
  ASSERT_TRUE(large.ready());
  ASSERT_TRUE(small.ready());
  EXPECT_EQ(budget.used(), 70u);
  EXPECT_EQ((*std::move(large).Get()).bytes(), 60u);
  EXPECT_EQ((*std::move(small).Get()).bytes(), 10u);
  EXPECT_EQ(budget.used(), 0u);
}

TEST(MemoryBudget, AnImpossibleRequestFailsInsteadOfWaiting) {
  MemoryBudget budget(100);
  Result<Reservation> r = budget.Reserve(101).Get();
  ASSERT_FALSE(r.has_value());
  EXPECT_EQ(r.error().code(), ErrorCode::kTooLarge);
}

TEST(MemoryBudget, SplitAndMergeKeepTheSum) {
  MemoryBudget budget(100);
  Reservation a = *budget.TryReserve(50);
  Reservation b = a.Split(20);
  EXPECT_EQ(a.bytes(), 30u);
  b.Release();
  EXPECT_EQ(budget.used(), 30u);
  a.Merge(*budget.TryReserve(5));
  EXPECT_EQ(a.bytes(), 35u);
  EXPECT_EQ(budget.used(), 35u);
}

}  // namespace
}  // namespace ckptfs
