// ManualExecutor: runs what was posted when the test says so, on its thread.
#pragma once

#include <ckptfs/executor.h>

#include <deque>
#include <mutex>
#include <utility>

namespace ckptfs {

class ManualExecutor final : public Executor {
 public:
  void Post(UniqueFunction<void()> fn) override {
    std::lock_guard lock(mu_);
    queue_.push_back(std::move(fn));
  }
  // False when nothing was queued.
  bool RunOne() {
    UniqueFunction<void()> fn;
    {
      std::lock_guard lock(mu_);
      if (queue_.empty()) return false;
      fn = std::move(queue_.front());
      queue_.pop_front();
    }
    fn();
    return true;
  }
  void RunAll() {
    while (RunOne()) {
    }
  }

 private:
  std::mutex mu_;
  std::deque<UniqueFunction<void()>> queue_;
};

}  // namespace ckptfs
