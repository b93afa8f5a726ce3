// Coroutine synchronisation on the strand: a FIFO mutex and an event. Used from
// the strand alone, so they need no atomics; waiters resume through the
// executor, never on the stack of whoever woke them.
#pragma once

#include <coroutine>
#include <deque>
#include <utility>

#include "common/task.h"

namespace ckptfs::fs {

// Serialises the slow operations of one inode or directory. Fair.
class StrandMutex {
 public:
  // Holds the mutex; releases it on destruction.
  class Guard {
   public:
    Guard() = default;
    explicit Guard(StrandMutex* mutex) : mutex_(mutex) {}
    Guard(Guard&& other) noexcept
        : mutex_(std::exchange(other.mutex_, nullptr)) {}
    Guard& operator=(Guard&& other) noexcept {
      if (this != &other) {
        Release();
        mutex_ = std::exchange(other.mutex_, nullptr);
      }
      return *this;
    }
    ~Guard() { Release(); }
    void Release() {
      if (mutex_ != nullptr) std::exchange(mutex_, nullptr)->Unlock();
    }
    explicit operator bool() const { return mutex_ != nullptr; }

   private:
    StrandMutex* mutex_ = nullptr;
  };

  class Awaiter {
   public:
    explicit Awaiter(StrandMutex* mutex) : mutex_(mutex) {}
    bool await_ready() { return mutex_->TryTake(); }
    template <typename P>
    void await_suspend(std::coroutine_handle<P> h) {
      mutex_->waiters_.push_back({h, h.promise().executor});
    }
    Guard await_resume() { return Guard(mutex_); }

   private:
    StrandMutex* mutex_;
  };

  // `Guard g = co_await mutex.Lock();`
  Awaiter Lock() { return Awaiter(this); }
  // At once or not at all: an empty guard.
  Guard TryLock() { return TryTake() ? Guard(this) : Guard(); }
  bool locked() const { return locked_; }

 private:
  struct Waiter {
    std::coroutine_handle<> handle;
    Executor* executor;
  };
  bool TryTake() {
    if (locked_) return false;
    locked_ = true;
    return true;
  }
  void Unlock() {
    if (waiters_.empty()) {
      locked_ = false;
      return;
    }
    // Ownership passes on, so that nobody overtakes the waiter.
    const Waiter next = waiters_.front();
    waiters_.pop_front();
    next.executor->Post([handle = next.handle] { handle.resume(); });
  }

  bool locked_ = false;
  std::deque<Waiter> waiters_;  // INVARIANT: empty while !locked_
};

// Wakes everybody who waits at the moment of NotifyAll.
class StrandEvent {
 public:
  class Awaiter {
   public:
    explicit Awaiter(StrandEvent* event) : event_(event) {}
    bool await_ready() { return false; }
    template <typename P>
    void await_suspend(std::coroutine_handle<P> h) {
      event_->waiters_.push_back({h, h.promise().executor});
    }
    void await_resume() {}

   private:
    StrandEvent* event_;
  };

  // Check the condition again after waking.
  Awaiter Wait() { return Awaiter(this); }
  void NotifyAll() {
    std::deque<Waiter> woken = std::exchange(waiters_, {});
    for (const Waiter& w : woken) {
      w.executor->Post([handle = w.handle] { handle.resume(); });
    }
  }
  bool has_waiters() const { return !waiters_.empty(); }

 private:
  struct Waiter {
    std::coroutine_handle<> handle;
    Executor* executor;
  };
  std::deque<Waiter> waiters_;
};

}  // namespace ckptfs::fs
