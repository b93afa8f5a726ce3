// Task<T>: a coroutine that runs on one executor. Steps of fs that wait for
// S3, the budget or another step are written as Tasks.
//
//   Task<Result<Attributes>> Inode::Load() {
//     Result<ObjectInfo> info = co_await store.Head(...);   // a Future
//     CKPTFS_CO_RETURN_IF_ERROR(info);
//     co_return ...;
//   }
//   Spawn(strand, Load());
//
// Rules
//   - Lazy: nothing runs until the Task is awaited or spawned.
//   - A Task runs wholly on the executor it was spawned on; an awaited Task
//     inherits it, an awaited Future resumes on it. A ready Future does not
//     suspend.
//   - Parameters are taken by value (or outlive the Task): they are copied
//     into the frame, references are not extended.
//   - No exceptions: one that leaves a Task ends the program.
//   - Assign what is awaited to a named variable; g++ 12 mishandles temporaries
//     in larger expressions with co_await (GCC bugs 99576, 100611).
#pragma once

#include <ckptfs/executor.h>
#include <ckptfs/future.h>
#include <ckptfs/result.h>

#include <coroutine>
#include <cstdlib>
#include <exception>
#include <optional>
#include <utility>

namespace ckptfs {

template <typename T>
class Task;

namespace internal {

struct TaskPromiseBase {
  Executor* executor = nullptr;
  std::coroutine_handle<> continuation;

  std::suspend_always initial_suspend() noexcept { return {}; }
  struct FinalAwaiter {
    bool await_ready() noexcept { return false; }
    template <typename P>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<P> h) noexcept {
      std::coroutine_handle<> next = h.promise().continuation;
      return next ? next : std::noop_coroutine();
    }
    void await_resume() noexcept {}
  };
  FinalAwaiter final_suspend() noexcept { return {}; }
  void unhandled_exception() noexcept { std::terminate(); }

  template <typename T>
  auto await_transform(Future<T> future);
  template <typename T>
  Task<T>&& await_transform(Task<T>&& task) {
    return std::move(task);
  }
  // Awaitables of fs (queues, locks) that resume through the strand.
  template <typename A>
    requires requires(A& a) { a.await_ready(); }
  A&& await_transform(A&& awaitable) {
    return std::forward<A>(awaitable);
  }
};

template <typename T>
struct TaskPromise : TaskPromiseBase {
  std::optional<T> value;
  Task<T> get_return_object();
  void return_value(T v) { value.emplace(std::move(v)); }
  T Take() { return *std::move(value); }
};

template <>
struct TaskPromise<void> : TaskPromiseBase {
  Task<void> get_return_object();
  void return_void() {}
  void Take() {}
};

template <typename T>
struct FutureAwaiter {
  Future<T> future;
  Executor* executor;
  std::optional<Result<T>> result;

  bool await_ready() {
    if (!future.ready()) return false;
    result.emplace(std::move(future).Get());
    return true;
  }
  void await_suspend(std::coroutine_handle<> h) {
    std::move(future).Then(*executor, [this, h](Result<T> r) {
      result.emplace(std::move(r));
      h.resume();
    });
  }
  Result<T> await_resume() { return *std::move(result); }
};

template <typename T>
auto TaskPromiseBase::await_transform(Future<T> future) {
  return FutureAwaiter<T>{std::move(future), executor, std::nullopt};
}

}  // namespace internal

// Movable handle of a coroutine that has not been awaited yet. Destroying it
// unstarted destroys the frame.
template <typename T>
class [[nodiscard]] Task {
 public:
  using promise_type = internal::TaskPromise<T>;
  using Handle = std::coroutine_handle<promise_type>;

  explicit Task(Handle handle) : handle_(handle) {}
  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
  Task& operator=(Task&& other) noexcept {
    if (this != &other) {
      if (handle_) handle_.destroy();
      handle_ = std::exchange(other.handle_, {});
    }
    return *this;
  }
  ~Task() {
    if (handle_) handle_.destroy();
  }

  bool await_ready() const noexcept { return false; }
  template <typename P>
  std::coroutine_handle<> await_suspend(std::coroutine_handle<P> parent) {
    handle_.promise().executor = parent.promise().executor;
    handle_.promise().continuation = parent;
    return handle_;
  }
  T await_resume() { return handle_.promise().Take(); }

 private:
  template <typename U>
  friend void Spawn(Executor&, Task<U>, UniqueFunction<void(U)>);
  friend void Spawn(Executor&, Task<void>);

  Handle handle_;
};

namespace internal {

template <typename T>
Task<T> TaskPromise<T>::get_return_object() {
  return Task<T>(Task<T>::Handle::from_promise(*this));
}
inline Task<void> TaskPromise<void>::get_return_object() {
  return Task<void>(Task<void>::Handle::from_promise(*this));
}

// Owns a spawned Task; its frame frees itself at the end.
struct Detached {
  struct promise_type {
    Executor* executor = nullptr;
    Detached get_return_object() {
      return {std::coroutine_handle<promise_type>::from_promise(*this)};
    }
    std::suspend_always initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() noexcept { std::terminate(); }
  };
  std::coroutine_handle<promise_type> handle;
};
inline Detached RunDetached(Task<void> task) { co_await std::move(task); }
template <typename T>
Detached RunDetached(Task<T> task, UniqueFunction<void(T)> done) {
  T value = co_await std::move(task);
  done(std::move(value));
}

}  // namespace internal

// Starts `task` at once on the calling thread, which must be `executor`'s;
// later steps run on `executor`. From another thread, Post a function that
// spawns.
inline void Spawn(Executor& executor, Task<void> task) {
  internal::Detached d = internal::RunDetached(std::move(task));
  d.handle.promise().executor = &executor;
  d.handle.resume();
}
// Likewise; `done` receives the value, on `executor`.
template <typename U>
void Spawn(Executor& executor, Task<U> task, UniqueFunction<void(U)> done) {
  internal::Detached d =
      internal::RunDetached<U>(std::move(task), std::move(done));
  d.handle.promise().executor = &executor;
  d.handle.resume();
}

}  // namespace ckptfs

// RETURN_IF_ERROR for coroutines; `expr` must not contain co_await.
#define CKPTFS_CO_RETURN_IF_ERROR(expr)                           \
  do {                                                            \
    auto&& ckptfs_result = (expr);                                \
    if (!ckptfs_result.has_value())                               \
      co_return ::ckptfs::Fail(std::move(ckptfs_result).error()); \
  } while (false)
