// Mutex, MutexLock, CondVar: those of the standard library, with the names that
// clang's thread safety analysis goes by; libstdc++ has none of them. The order
// in which locks are taken is in docs/LOCKING.md.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

#include "common/thread_annotations.h"

namespace ckptfs {

class CKPTFS_CAPABILITY("mutex") Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void Lock() CKPTFS_ACQUIRE() { mu_.lock(); }
  void Unlock() CKPTFS_RELEASE() { mu_.unlock(); }

 private:
  friend class CondVar;
  std::mutex mu_;
};

// Holds a Mutex for a scope. Between Unlock and Lock it does not; it may end
// in either state.
class CKPTFS_SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mu) CKPTFS_ACQUIRE(mu) : mu_(mu) { mu_.Lock(); }
  ~MutexLock() CKPTFS_RELEASE() {
    if (held_) mu_.Unlock();
  }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

  void Unlock() CKPTFS_RELEASE() {
    held_ = false;
    mu_.Unlock();
  }
  void Lock() CKPTFS_ACQUIRE() {
    mu_.Lock();
    held_ = true;
  }

 private:
  Mutex& mu_;
  bool held_ = true;
};

// Waits may end without a notification, so they stand in a loop. There is no
// wait with a predicate: the analysis takes a lambda for another function,
// which does not know what its caller holds.
class CondVar {
 public:
  void Wait(Mutex& mu) CKPTFS_REQUIRES(mu) {
    std::unique_lock lock(mu.mu_, std::adopt_lock);
    cv_.wait(lock);
    lock.release();
  }
  // False once `deadline` has passed.
  bool WaitUntil(Mutex& mu, std::chrono::steady_clock::time_point deadline)
      CKPTFS_REQUIRES(mu) {
    std::unique_lock lock(mu.mu_, std::adopt_lock);
    const std::cv_status status = cv_.wait_until(lock, deadline);
    lock.release();
    return status == std::cv_status::no_timeout;
  }

  void NotifyOne() { cv_.notify_one(); }
  void NotifyAll() { cv_.notify_all(); }

 private:
  std::condition_variable cv_;
};

}  // namespace ckptfs
