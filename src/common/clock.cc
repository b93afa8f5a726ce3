#include "common/clock.h"

#include <utility>
#include <vector>

namespace ckptfs {

Future<void> Clock::Sleep(Duration delay, Executor& executor) {
  Promise<void> promise;
  Future<void> future = promise.GetFuture();
  RunAfter(delay, executor,
           [promise = std::move(promise)]() mutable { promise.Set({}); });
  return future;
}

SystemClock::SystemClock() : thread_([this] { Run(); }) {}

SystemClock::~SystemClock() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
  }
  cv_.NotifyAll();
  thread_.join();
}

void SystemClock::RunAfter(Duration delay, Executor& executor,
                           UniqueFunction<void()> fn) {
  {
    MutexLock lock(mu_);
    timers_.emplace(Now() + delay, Timer{&executor, std::move(fn)});
  }
  cv_.NotifyAll();
}

void SystemClock::Run() {
  MutexLock lock(mu_);
  while (!stopping_) {
    if (timers_.empty()) {
      cv_.Wait(mu_);
      continue;
    }
    const SteadyTime due = timers_.begin()->first;
    if (due > Now()) {
      cv_.WaitUntil(mu_, due);
      continue;
    }
    Timer timer = std::move(timers_.begin()->second);
    timers_.erase(timers_.begin());
    lock.Unlock();
    timer.executor->Post(std::move(timer.fn));
    lock.Lock();
  }
}

SteadyTime FakeClock::Now() const {
  MutexLock lock(mu_);
  return now_;
}

WallTime FakeClock::WallNow() const {
  MutexLock lock(mu_);
  return wall_;
}

void FakeClock::RunAfter(Duration delay, Executor& executor,
                         UniqueFunction<void()> fn) {
  MutexLock lock(mu_);
  timers_.emplace(now_ + delay, Timer{&executor, std::move(fn)});
}

void FakeClock::Advance(Duration delta) {
  std::vector<Timer> due;
  {
    MutexLock lock(mu_);
    now_ += delta;
    wall_ += std::chrono::duration_cast<WallTime::duration>(delta);
    const auto end = timers_.upper_bound(now_);
    for (auto it = timers_.begin(); it != end; ++it) {
      due.push_back(std::move(it->second));
    }
    timers_.erase(timers_.begin(), end);
  }
  for (Timer& t : due) t.executor->Post(std::move(t.fn));
}

std::optional<Duration> FakeClock::UntilNextTimer() const {
  MutexLock lock(mu_);
  if (timers_.empty()) return std::nullopt;
  return timers_.begin()->first - now_;
}

}  // namespace ckptfs
