#include <ckptfs/future.h>

#include <gtest/gtest.h>

#include <memory>
#include <thread>

#include "support/manual_executor.h"

namespace ckptfs {
namespace {

TEST(Future, DeliversOnTheNamedExecutor) {
  ManualExecutor executor;
  Promise<std::unique_ptr<int>> promise;
  int got = 0;
  promise.GetFuture().Then(executor,
                           [&](Result<std::unique_ptr<int>> r) { got = **r; });
  promise.Set(std::make_unique<int>(7));
  EXPECT_EQ(got, 0);
  executor.RunAll();
  EXPECT_EQ(got, 7);
}

TEST(Future, ThenAfterSetStillPosts) {
  ManualExecutor executor;
  Promise<int> promise;
  Future<int> future = promise.GetFuture();
  promise.Set(3);
  EXPECT_TRUE(future.ready());
  int got = 0;
  std::move(future).Then(executor, [&](Result<int> r) { got = *r; });
  EXPECT_EQ(got, 0);
  executor.RunAll();
  EXPECT_EQ(got, 3);
}

TEST(Future, BrokenPromiseIsAnError) {
  Future<int> future;
  {
    Promise<int> promise;
    future = promise.GetFuture();
  }
  const Result<int> r = std::move(future).Get();
  ASSERT_FALSE(r.has_value());
  EXPECT_EQ(r.error().code(), ErrorCode::kInternal);
}

TEST(Future, GetWaitsForAnotherThread) {
  Promise<void> promise;
  Future<void> future = promise.GetFuture();
  std::thread t([&] { promise.Set({}); });
  EXPECT_TRUE(std::move(future).Get().has_value());
  t.join();
}

TEST(Error, SaysWhatIsKnownAndNothingElse) {
  const Error e(ErrorCode::kNotFound, {.message = "get a/b",
                                       .http_status = 404,
                                       .s3_code = "NoSuchKey",
                                       .request_id = "r1",
                                       .key = "a/b"});
  EXPECT_EQ(e.ToString(),
            "get a/b [NotFound, NoSuchKey, HTTP 404, request id r1]");
  EXPECT_EQ(e.WithContext("load").message(), "load: get a/b");
  EXPECT_EQ(Error(ErrorCode::kInternal, "x").ToString(), "x [Internal]");
}

}  // namespace
}  // namespace ckptfs
