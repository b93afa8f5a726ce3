// Future<T> / Promise<T>: a one-shot Result<T> that crosses threads.
#pragma once

#include <ckptfs/executor.h>
#include <ckptfs/result.h>

#include <cassert>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

namespace ckptfs {

namespace internal {

// Shared by one Promise and one Future. The mutex is a leaf: nothing is called
// while it is held.
template <typename T>
class FutureState {
 public:
  void Set(Result<T> result) {
    Executor* executor = nullptr;
    UniqueFunction<void(Result<T>)> continuation;
    {
      std::lock_guard lock(mu_);
      assert(!done_);
      done_ = true;
      if (!continuation_) {
        result_.emplace(std::move(result));
        cv_.notify_all();
        return;
      }
      continuation = std::move(continuation_);
      executor = executor_;
    }
    Deliver(*executor, std::move(continuation), std::move(result));
  }

  void Then(Executor& executor, UniqueFunction<void(Result<T>)> fn) {
    std::optional<Result<T>> ready;
    {
      std::lock_guard lock(mu_);
      if (!done_) {
        executor_ = &executor;
        continuation_ = std::move(fn);
        return;
      }
      ready = std::move(result_);
      result_.reset();
    }
    Deliver(executor, std::move(fn), *std::move(ready));
  }

  bool ready() const {
    std::lock_guard lock(mu_);
    return result_.has_value();
  }

  Result<T> Take() {
    std::unique_lock lock(mu_);
    cv_.wait(lock, [&] { return result_.has_value(); });
    Result<T> out = *std::move(result_);
    result_.reset();
    return out;
  }

 private:
  static void Deliver(Executor& executor, UniqueFunction<void(Result<T>)> fn,
                      Result<T> result) {
    executor.Post([fn = std::move(fn), result = std::move(result)]() mutable {
      fn(std::move(result));
    });
  }

  mutable std::mutex mu_;
  std::condition_variable cv_;
  // Guarded by mu_.
  bool done_ = false;
  std::optional<Result<T>> result_;
  Executor* executor_ = nullptr;
  UniqueFunction<void(Result<T>)> continuation_;
};

}  // namespace internal

// The receiving end. Movable, not copyable; used from one thread at a time.
// Dropping it drops the result, not the operation.
template <typename T>
class [[nodiscard]] Future {
 public:
  using value_type = T;

  Future() = default;
  // Already finished with `result`.
  Future(Result<T> result)
      : state_(std::make_shared<internal::FutureState<T>>()) {
    state_->Set(std::move(result));
  }

  bool valid() const { return state_ != nullptr; }
  // True once Get() and Take() would not block.
  bool ready() const { return state_->ready(); }

  // Waits for the result. Never call it on a strand, HTTP or work thread.
  Result<T> Get() && { return std::exchange(state_, nullptr)->Take(); }

  // Runs fn(result) on `executor` once, when the result is there.
  void Then(Executor& executor, UniqueFunction<void(Result<T>)> fn) && {
    std::exchange(state_, nullptr)->Then(executor, std::move(fn));
  }

 private:
  template <typename>
  friend class Promise;
  explicit Future(std::shared_ptr<internal::FutureState<T>> state)
      : state_(std::move(state)) {}
  std::shared_ptr<internal::FutureState<T>> state_;
};

// The producing end. A Promise destroyed without Set delivers kInternal
// ("broken promise"), so a waiter never hangs.
template <typename T>
class Promise {
 public:
  Promise() : state_(std::make_shared<internal::FutureState<T>>()) {}
  Promise(Promise&&) noexcept = default;
  Promise& operator=(Promise&& other) noexcept {
    Break();
    state_ = std::move(other.state_);
    return *this;
  }
  ~Promise() { Break(); }

  // Once.
  Future<T> GetFuture() { return Future<T>(state_); }

  // Once, from any thread.
  void Set(Result<T> result) {
    std::exchange(state_, nullptr)->Set(std::move(result));
  }

 private:
  void Break() {
    if (state_ != nullptr) {
      Set(Fail(ErrorCode::kInternal, "operation was dropped unfinished"));
    }
  }
  std::shared_ptr<internal::FutureState<T>> state_;
};

}  // namespace ckptfs
