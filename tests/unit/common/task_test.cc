#include "common/task.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>

#include "common/executors.h"
#include "support/manual_executor.h"

namespace ckptfs {
namespace {

Task<int> Add(int a, int b) { co_return a + b; }

Task<Result<int>> Twice(Future<int> future) {
  Result<int> value = co_await std::move(future);
  CKPTFS_CO_RETURN_IF_ERROR(value);
  const int sum = co_await Add(*value, *value);
  co_return sum;
}

TEST(Task, RunsOnTheExecutorItWasSpawnedOn) {
  ManualExecutor executor;
  Promise<int> promise;
  std::optional<Result<int>> out;
  Spawn<Result<int>>(executor, Twice(promise.GetFuture()),
                     [&](Result<int> r) { out.emplace(std::move(r)); });
  std::thread([&] { promise.Set(21); }).join();
  EXPECT_FALSE(out.has_value());  // resumes on the executor alone
  executor.RunAll();
  ASSERT_TRUE(out.has_value());
  EXPECT_EQ(**out, 42);
}

TEST(Task, AReadyFutureDoesNotSuspend) {
  ManualExecutor executor;
  std::optional<Result<int>> out;
  Spawn<Result<int>>(executor, Twice(Future<int>(Result<int>(4))),
                     [&](Result<int> r) { out.emplace(std::move(r)); });
  ASSERT_TRUE(out.has_value());
  EXPECT_EQ(**out, 8);
}

TEST(Task, CarriesErrors) {
  ManualExecutor executor;
  std::optional<Result<int>> out;
  Spawn<Result<int>>(executor,
                     Twice(Future<int>(Fail(ErrorCode::kNotFound, "gone"))),
                     [&](Result<int> r) { out.emplace(std::move(r)); });
  ASSERT_TRUE(out.has_value());
  EXPECT_EQ(out->error().code(), ErrorCode::kNotFound);
}

Task<void> Hold(std::shared_ptr<int> token, Future<void> future) {
  Result<void> r = co_await std::move(future);
  (void)r;
  (void)token;
}

TEST(Task, FreesItsFrameAtTheEndAndUnstarted) {
  ManualExecutor executor;
  auto token = std::make_shared<int>(1);
  {
    Task<void> never_started = Hold(token, Future<void>(Result<void>()));
    EXPECT_EQ(token.use_count(), 2);
  }
  EXPECT_EQ(token.use_count(), 1);
  Promise<void> promise;
  Spawn(executor, Hold(token, promise.GetFuture()));
  EXPECT_EQ(token.use_count(), 2);
  promise.Set({});
  executor.RunAll();
  EXPECT_EQ(token.use_count(), 1);
}

// g++ turns the transfer between coroutines into a jump only when it
// optimises and does not instrument; elsewhere the loop is kept short.
#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
constexpr int kAwaits = 200'000;
#else
constexpr int kAwaits = 500;
#endif

TEST(Task, ManyAwaitsDoNotGrowTheStack) {
  ManualExecutor executor;
  std::optional<int> out;
  auto loop = []() -> Task<int> {
    int sum = 0;
    for (int i = 0; i < kAwaits; ++i) {
      const int one = co_await Add(0, 1);
      sum += one;
    }
    co_return sum;
  };
  Spawn<int>(executor, loop(), [&](int v) { out = v; });
  EXPECT_EQ(out, kAwaits);
}

}  // namespace
}  // namespace ckptfs
