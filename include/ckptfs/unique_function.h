// UniqueFunction<R(Args...)>: a move-only callable, for callbacks that own
// promises and buffers. (std::move_only_function is C++23.)
#pragma once

#include <cassert>
#include <cstddef>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace ckptfs {

template <typename Signature>
class UniqueFunction;

// Not thread-safe. Small callables (<= 48 bytes, nothrow movable) are stored
// inline. Calling an empty one is a bug.
template <typename R, typename... Args>
class UniqueFunction<R(Args...)> {
 public:
  UniqueFunction() = default;
  UniqueFunction(std::nullptr_t) {}

  template <typename F>
    requires(!std::is_same_v<std::decay_t<F>, UniqueFunction> &&
             std::is_invocable_r_v<R, std::decay_t<F>&, Args...>)
  UniqueFunction(F&& f) {
    using Fn = std::decay_t<F>;
    if constexpr (sizeof(Fn) <= kInline &&
                  alignof(Fn) <= alignof(std::max_align_t) &&
                  std::is_nothrow_move_constructible_v<Fn>) {
      ::new (static_cast<void*>(storage_)) Fn(std::forward<F>(f));
      ops_ = &InlineOps<Fn>::ops;
    } else {
      ::new (static_cast<void*>(storage_)) Fn*(new Fn(std::forward<F>(f)));
      ops_ = &HeapOps<Fn>::ops;
    }
  }

  UniqueFunction(UniqueFunction&& other) noexcept { MoveFrom(other); }
  UniqueFunction& operator=(UniqueFunction&& other) noexcept {
    if (this != &other) {
      Reset();
      MoveFrom(other);
    }
    return *this;
  }
  UniqueFunction(const UniqueFunction&) = delete;
  UniqueFunction& operator=(const UniqueFunction&) = delete;
  ~UniqueFunction() { Reset(); }

  explicit operator bool() const { return ops_ != nullptr; }

  R operator()(Args... args) {
    assert(ops_ != nullptr);
    return ops_->call(storage_, std::forward<Args>(args)...);
  }

 private:
  static constexpr std::size_t kInline = 48;
  struct Ops {
    R (*call)(void*, Args&&...);
    void (*move)(void* from, void* to) noexcept;
    void (*destroy)(void*) noexcept;
  };
  template <typename Fn>
  struct InlineOps {
    static R Call(void* s, Args&&... args) {
      return (*static_cast<Fn*>(s))(std::forward<Args>(args)...);
    }
    static void Move(void* from, void* to) noexcept {
      ::new (to) Fn(std::move(*static_cast<Fn*>(from)));
      static_cast<Fn*>(from)->~Fn();
    }
    static void Destroy(void* s) noexcept { static_cast<Fn*>(s)->~Fn(); }
    static constexpr Ops ops{&Call, &Move, &Destroy};
  };
  template <typename Fn>
  struct HeapOps {
    static R Call(void* s, Args&&... args) {
      return (**static_cast<Fn**>(s))(std::forward<Args>(args)...);
    }
    static void Move(void* from, void* to) noexcept {
      ::new (to) Fn*(*static_cast<Fn**>(from));
    }
    static void Destroy(void* s) noexcept { delete *static_cast<Fn**>(s); }
    static constexpr Ops ops{&Call, &Move, &Destroy};
  };

  void MoveFrom(UniqueFunction& other) noexcept {
    ops_ = std::exchange(other.ops_, nullptr);
    if (ops_ != nullptr) ops_->move(other.storage_, storage_);
  }
  void Reset() noexcept {
    if (ops_ != nullptr) std::exchange(ops_, nullptr)->destroy(storage_);
  }

  alignas(std::max_align_t) unsigned char storage_[kInline];
  const Ops* ops_ = nullptr;
};

}  // namespace ckptfs
