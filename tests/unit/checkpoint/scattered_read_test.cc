#include "checkpoint/io/scattered_read.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/io/side_by_side.h"
#include "unit/checkpoint/await.h"

namespace ckptfs {
namespace {

constexpr std::uint64_t kKiB = 1024;
constexpr std::uint64_t kMiB = 1024 * kKiB;

// The runs' first and last, and their bytes.
std::vector<std::vector<std::uint64_t>> RunsOf(
    const std::vector<std::pair<std::uint64_t, std::uint64_t>>& ranges) {
  RangeRuns runs;
  for (const auto& [begin, end] : ranges) runs.Add(begin, end);
  std::vector<std::vector<std::uint64_t>> out;
  for (const RangeRun& run : runs.runs()) {
    out.push_back({run.first, run.last, run.begin, run.end});
  }
  return out;
}

using Runs = std::vector<std::vector<std::uint64_t>>;

TEST(RangeRuns, NeighboursTravelTogether) {
  EXPECT_EQ(RunsOf({}), Runs{});
  EXPECT_EQ(RunsOf({{10, 20}, {20, 30}, {30 + 8 * kKiB, 9 * kKiB}}),
            (Runs{{0, 3, 10, 9 * kKiB}}));
  EXPECT_EQ(RunsOf({{10, 20}, {21 + 8 * kKiB, 10 * kKiB}}),
            (Runs{{0, 1, 10, 20}, {1, 2, 21 + 8 * kKiB, 10 * kKiB}}));
}

TEST(RangeRuns, WhatOverlapsIsReadTwice) {
  EXPECT_EQ(RunsOf({{10, 20}, {15, 30}}),
            (Runs{{0, 1, 10, 20}, {1, 2, 15, 30}}));
}

TEST(RangeRuns, NothingJoinsALongOne) {
  EXPECT_EQ(RunsOf({{0, 65 * kMiB}, {65 * kMiB, 66 * kMiB}}).size(), 2u);
}

// A few wanted bytes every 8 KiB must not hold the whole file in memory.
TEST(RangeRuns, GapsAreBounded) {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
  for (std::uint64_t i = 0; i < 1000; ++i) {
    ranges.emplace_back(i * 8 * kKiB, i * 8 * kKiB + 8);
  }
  for (const auto& run : RunsOf(ranges)) {
    EXPECT_LE(run[3] - run[2], kMiB + 16 * kKiB);
  }
}

TEST(ScatteredRead, AlternatesBetweenGapsAndMemory) {
  std::string a(3, '\0');
  std::string b(2, '\0');
  std::string c(1, '\0');
  ScatteredRead read(100, nullptr);
  read.Add(100, std::as_writable_bytes(std::span(a)));
  read.Add(105, std::as_writable_bytes(std::span(b)));
  read.Add(107, std::as_writable_bytes(std::span(c)));
  const Destination destination = read.TakeDestination();
  EXPECT_EQ(destination.size(), 8u);
  char next = 'a';
  for (const std::span<std::byte> segment : destination.segments) {
    for (std::byte& byte : segment) byte = static_cast<std::byte>(next++);
  }
  EXPECT_EQ(a, "abc");
  EXPECT_EQ(b, "fg");
  EXPECT_EQ(c, "h");
  EXPECT_EQ(read.Before(0), "");
  EXPECT_EQ(read.Before(1), "de");
  EXPECT_EQ(read.Before(2), "");
}

class InlineExecutor final : public Executor {
 public:
  void Post(UniqueFunction<void()> fn) override { fn(); }
};

class SideBySideTest : public ::testing::Test {
 protected:
  struct Begun {
    std::optional<Promise<void>> promise;  // what the work waits for
    std::stop_token stop;
    bool ended = false;
  };
  Task<Result<void>> Wait(std::size_t i, std::stop_token stop) {
    Promise<void> promise;
    Future<void> future = promise.GetFuture();
    begun[i].promise.emplace(std::move(promise));
    begun[i].stop = std::move(stop);
    Result<void> done = co_await std::move(future);
    begun[i].ended = true;
    co_return done;
  }
  IndexedWork Work() {
    return [this](std::size_t i, std::stop_token stop) {
      return Wait(i, std::move(stop));
    };
  }
  void End(std::size_t i, Result<void> result) {
    Promise<void> promise = *std::move(begun[i].promise);
    promise.Set(std::move(result));
  }
  // How many of the work has begun.
  std::size_t Count() const {
    return static_cast<std::size_t>(
        std::count_if(begun.begin(), begun.end(),
                      [](const Begun& b) { return b.promise.has_value(); }));
  }

  std::vector<Begun> begun{std::vector<Begun>(5)};
  InlineExecutor executor;
};

TEST_F(SideBySideTest, SomeAtATimeUntilAllIsDone) {
  std::optional<Result<void>> result;
  Spawn<Result<void>>(executor, SideBySide(executor, 5, 2, {}, Work()),
                      [&](Result<void> done) { result = std::move(done); });
  EXPECT_EQ(Count(), 2u);
  End(1, {});
  EXPECT_EQ(Count(), 3u);
  End(0, {});
  End(2, {});
  End(3, {});
  EXPECT_FALSE(result.has_value());
  End(4, {});
  ASSERT_TRUE(result.has_value());
  EXPECT_TRUE(result->has_value());
}

TEST_F(SideBySideTest, TheFirstErrorEndsItWhenAllHasEnded) {
  std::optional<Result<void>> result;
  Spawn<Result<void>>(executor, SideBySide(executor, 5, 2, {}, Work()),
                      [&](Result<void> done) { result = std::move(done); });
  EXPECT_FALSE(begun[0].stop.stop_requested());
  End(1, Fail(ErrorCode::kDataLoss, "first"));
  EXPECT_TRUE(begun[0].stop.stop_requested());
  EXPECT_EQ(Count(), 2u);
  EXPECT_FALSE(result.has_value());
  End(0, Fail(ErrorCode::kCancelled, "second"));
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->error().code(), ErrorCode::kDataLoss);
  EXPECT_EQ(Count(), 2u);
}

TEST_F(SideBySideTest, WhatRunsHearsOfTheCallersStop) {
  std::stop_source stop;
  std::optional<Result<void>> result;
  Spawn<Result<void>>(executor,
                      SideBySide(executor, 1, 2, stop.get_token(), Work()),
                      [&](Result<void> done) { result = std::move(done); });
  stop.request_stop();
  EXPECT_TRUE(begun[0].stop.stop_requested());
  End(0, {});
  ASSERT_TRUE(result.has_value());
  EXPECT_TRUE(result->has_value());
}

TEST_F(SideBySideTest, NothingToDo) {
  EXPECT_TRUE(
      Await(executor, SideBySide(executor, 0, 2, {}, Work())).has_value());
}

}  // namespace
}  // namespace ckptfs
