#include "common/clock.h"

#include <gtest/gtest.h>

#include <vector>

#include "common/executors.h"
#include "support/manual_executor.h"

namespace ckptfs {
namespace {

using std::chrono::seconds;

TEST(FakeClock, FiresInOrderOfTime) {
  FakeClock clock;
  ManualExecutor executor;
  std::vector<int> fired;
  clock.RunAfter(seconds(2), executor, [&] { fired.push_back(2); });
  clock.RunAfter(seconds(1), executor, [&] { fired.push_back(1); });
  clock.RunAfter(seconds(9), executor, [&] { fired.push_back(9); });
  EXPECT_EQ(clock.UntilNextTimer(), Duration(seconds(1)));
  clock.Advance(seconds(3));
  executor.RunAll();
  EXPECT_EQ(fired, (std::vector<int>{1, 2}));
}

TEST(SystemClock, FiresOnTheExecutor) {
  ThreadPool pool("test", 1);
  SystemClock clock;
  Future<void> a = clock.Sleep(std::chrono::milliseconds(5), pool);
  Future<void> b = clock.Sleep(std::chrono::milliseconds(1), pool);
  EXPECT_TRUE(std::move(b).Get().has_value());
  EXPECT_TRUE(std::move(a).Get().has_value());
}

}  // namespace
}  // namespace ckptfs
