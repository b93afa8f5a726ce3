// What threads share, used by several at once: ThreadSanitizer looks on. The
// plain variables belong to one executor each.
#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <latch>
#include <memory>
#include <utility>

#include "common/clock.h"
#include "common/executors.h"
#include "common/memory_budget.h"
#include "common/slab_pool.h"
#include "common/task.h"

namespace ckptfs {
namespace {

constexpr int kRounds = 200;

TEST(Threads, AFutureIsSetWhileAContinuationIsGiven) {
  int sum = 0;
  {
    ThreadPool receiver("receiver", 1);
    ThreadPool setters("setter", 2);
    for (int i = 0; i < kRounds; ++i) {
      Promise<int> promise;
      Future<int> future = promise.GetFuture();
      setters.Post(
          [promise = std::move(promise), i]() mutable { promise.Set(i); });
      std::move(future).Then(receiver, [&sum](Result<int> r) { sum += *r; });
    }
  }
  EXPECT_EQ(sum, kRounds * (kRounds - 1) / 2);
}

TEST(Threads, AFutureIsSetWhileSomebodyWaits) {
  ThreadPool setters("setter", 2);
  for (int i = 0; i < kRounds; ++i) {
    Promise<std::unique_ptr<int>> promise;
    Future<std::unique_ptr<int>> future = promise.GetFuture();
    setters.Post([promise = std::move(promise), i]() mutable {
      promise.Set(std::make_unique<int>(i));
    });
    EXPECT_EQ(**std::move(future).Get(), i);
  }
}

Task<void> CountOnTheStrand(ThreadPool& pool, int& count, std::latch& done) {
  for (int i = 0; i < kRounds; ++i) {
    Promise<int> promise;
    Future<int> future = promise.GetFuture();
    pool.Post([promise = std::move(promise)]() mutable { promise.Set(1); });
    const Result<int> one = co_await std::move(future);
    count += *one;
  }
  done.count_down();
}

TEST(Threads, TasksComeBackToTheirStrand) {
  int count = 0;
  std::latch done(4);
  ThreadPool strand("strand", 1);
  ThreadPool pool("pool", 2);
  for (int i = 0; i < 4; ++i) {
    strand.Post([&] { Spawn(strand, CountOnTheStrand(pool, count, done)); });
  }
  done.wait();
  EXPECT_EQ(count, 4 * kRounds);
}

TEST(Threads, MemoryIsReservedFilledAndGivenBack) {
  MemoryBudget budget(4);
  SlabPool slabs(2);
  std::latch done(kRounds);
  ThreadPool pool("pool", 4);
  for (int i = 0; i < kRounds; ++i) {
    pool.Post([&, i] {
      Future<Reservation> reserved = budget.Reserve(1 + i % 4);
      std::move(reserved).Then(pool, [&, i](Result<Reservation> reservation) {
        std::shared_ptr<Slab> slab = slabs.Acquire();
        // The next owner's writes must come behind these.
        std::memset(slab->data(), i, 64);
        slab.reset();
        reservation->Release();
        done.count_down();
      });
      if (auto at_once = budget.TryReserve(1)) at_once->Release();
    });
  }
  done.wait();
  EXPECT_EQ(slabs.outstanding(), 0u);
}

TEST(Threads, TimersAreSetFromAnywhere) {
  int fired = 0;
  std::latch done(kRounds);
  ThreadPool strand("strand", 1);
  SystemClock clock;
  {
    ThreadPool setters("setter", 3);
    for (int i = 0; i < kRounds; ++i) {
      setters.Post([&, i] {
        clock.RunAfter(std::chrono::microseconds(i), strand, [&] {
          ++fired;
          done.count_down();
        });
      });
    }
  }
  done.wait();
  EXPECT_EQ(fired, kRounds);
}

TEST(Threads, AFakeClockIsMovedWhileTimersAreSet) {
  FakeClock clock;
  int fired = 0;
  {
    ThreadPool strand("strand", 1);
    ThreadPool setters("setter", 2);
    for (int i = 0; i < kRounds; ++i) {
      setters.Post([&] {
        clock.RunAfter(std::chrono::seconds(1), strand, [&] { ++fired; });
        clock.Advance(std::chrono::seconds(2));
      });
    }
  }
  EXPECT_EQ(fired, kRounds);
}

}  // namespace
}  // namespace ckptfs
