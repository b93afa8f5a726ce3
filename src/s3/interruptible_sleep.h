// InterruptibleSleep: a pause that a stop token cuts short.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <utility>

#include "common/clock.h"

namespace ckptfs {

// Lives in the frame of the coroutine that awaits Done(). The destructor waits
// for a stop callback that is running, so that none outlives the coroutine.
class InterruptibleSleep {
 public:
  InterruptibleSleep(Clock& clock, Duration delay, Executor& executor,
                     std::stop_token stop)
      : state_(std::make_shared<State>()),
        future_(state_->promise.GetFuture()) {
    clock.RunAfter(delay, executor, [state = state_] { state->Fire(); });
    on_stop_.emplace(std::move(stop), [state = state_] { state->Fire(); });
  }

  // Once. Ready after the delay or the stop.
  Future<void> Done() { return std::move(future_); }

 private:
  struct State {
    std::atomic<bool> fired{false};
    Promise<void> promise;
    void Fire() {
      if (!fired.exchange(true)) promise.Set({});
    }
  };
  std::shared_ptr<State> state_;
  Future<void> future_;
  std::optional<std::stop_callback<std::function<void()>>> on_stop_;
};

}  // namespace ckptfs
