// MemoryUse: memory of Python's that the engine reads or writes, until nothing
// of the engine touches it any more.
#pragma once

#include <nanobind/nanobind.h>

#include <condition_variable>
#include <memory>
#include <mutex>

namespace ckptfs::python {

// The engine keeps the owner of a payload or a destination through the last
// touch, which may come after the result of the operation: a request that was
// cancelled ends a little later. Made and destroyed with the GIL held; the
// destructor waits, and gives the GIL away meanwhile.
class MemoryUse {
 public:
  MemoryUse() : state_(std::make_shared<State>()) {
    owner_ = std::shared_ptr<void>(state_.get(), [state = state_](void*) {
      const std::lock_guard lock(state->mu);
      state->over = true;
      state->cv.notify_all();
    });
  }
  MemoryUse(const MemoryUse&) = delete;
  MemoryUse& operator=(const MemoryUse&) = delete;
  ~MemoryUse() {
    const nanobind::gil_scoped_release others;
    owner_.reset();
    std::unique_lock lock(state_->mu);
    state_->cv.wait(lock, [this] { return state_->over; });
  }

  // For the engine.
  const std::shared_ptr<void>& owner() const { return owner_; }

 private:
  struct State {
    std::mutex mu;
    std::condition_variable cv;
    bool over = false;  // guarded by mu
  };
  const std::shared_ptr<State> state_;
  std::shared_ptr<void> owner_;
};

}  // namespace ckptfs::python
