// Clock: the time and timers, behind an interface so that tests move time by
// hand.
#pragma once

#include <ckptfs/executor.h>
#include <ckptfs/future.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <thread>

#include "common/mutex.h"

namespace ckptfs {

using SteadyTime = std::chrono::steady_clock::time_point;
using WallTime = std::chrono::system_clock::time_point;
using Duration = std::chrono::nanoseconds;

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual SteadyTime Now() const = 0;
  virtual WallTime WallNow() const = 0;
  // Posts fn to `executor` once, `delay` from now.
  virtual void RunAfter(Duration delay, Executor& executor,
                        UniqueFunction<void()> fn) = 0;

  // Ready after `delay`; for co_await on `executor`.
  Future<void> Sleep(Duration delay, Executor& executor);
};

// The machine's clocks and one timer thread.
class SystemClock final : public Clock {
 public:
  SystemClock();
  // Timers that have not fired are dropped.
  ~SystemClock() override;

  SteadyTime Now() const override { return std::chrono::steady_clock::now(); }
  WallTime WallNow() const override { return std::chrono::system_clock::now(); }
  void RunAfter(Duration delay, Executor& executor,
                UniqueFunction<void()> fn) override;

 private:
  struct Timer {
    Executor* executor;
    UniqueFunction<void()> fn;
  };
  void Run();

  Mutex mu_;
  CondVar cv_;
  std::multimap<SteadyTime, Timer> timers_ CKPTFS_GUARDED_BY(mu_);
  bool stopping_ CKPTFS_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

// Stands still until Advance. Thread-safe.
class FakeClock final : public Clock {
 public:
  SteadyTime Now() const override;
  WallTime WallNow() const override;
  void RunAfter(Duration delay, Executor& executor,
                UniqueFunction<void()> fn) override;

  // Moves time and posts every timer that came due, in order.
  void Advance(Duration delta);
  // Time to the next timer; nullopt when there is none.
  std::optional<Duration> UntilNextTimer() const;

 private:
  struct Timer {
    Executor* executor;
    UniqueFunction<void()> fn;
  };
  mutable Mutex mu_;
  SteadyTime now_ CKPTFS_GUARDED_BY(mu_) = SteadyTime(std::chrono::hours(1));
  WallTime wall_ CKPTFS_GUARDED_BY(mu_) =
      WallTime(std::chrono::seconds(1'800'000'000));
  std::multimap<SteadyTime, Timer> timers_ CKPTFS_GUARDED_BY(mu_);
};

}  // namespace ckptfs
