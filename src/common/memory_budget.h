// MemoryBudget: the one limit, in bytes, on the payload memory of the program
// (dirty parts, prefetched blocks). Memory is reserved before it is used, and
// whoever cannot get it waits, spills or does without.
#pragma once

#include <ckptfs/future.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>

#include "common/mutex.h"

namespace ckptfs {

class MemoryBudget;

// Bytes held; given back on destruction.
class Reservation {
 public:
  Reservation() = default;
  Reservation(Reservation&& other) noexcept;
  Reservation& operator=(Reservation&& other) noexcept;
  ~Reservation() { Release(); }

  std::uint64_t bytes() const { return bytes_; }
  // Gives everything back now.
  void Release();
  // Takes over the bytes of `other`, which must be of the same budget.
  void Merge(Reservation other);
  // Splits `bytes` (<= bytes()) off.
  Reservation Split(std::uint64_t bytes);

 private:
  friend class MemoryBudget;
  Reservation(MemoryBudget* budget, std::uint64_t bytes)
      : budget_(budget), bytes_(bytes) {}
  MemoryBudget* budget_ = nullptr;
  std::uint64_t bytes_ = 0;
};

// Thread-safe. Waiters are served first come first served, and nobody overtakes
// a waiter: a stream of small reservations cannot starve a large one.
class MemoryBudget {
 public:
  explicit MemoryBudget(std::uint64_t limit_bytes);
  ~MemoryBudget();  // REQUIRES: every Reservation was given back

  // At once or not at all.
  std::optional<Reservation> TryReserve(std::uint64_t bytes);
  // Waits its turn. kTooLarge if `bytes` exceeds the whole limit.
  Future<Reservation> Reserve(std::uint64_t bytes);

  std::uint64_t limit() const { return limit_; }
  std::uint64_t used() const;

 private:
  friend class Reservation;
  struct Waiter {
    std::uint64_t bytes;
    Promise<Reservation> promise;
  };
  void Return(std::uint64_t bytes);

  const std::uint64_t limit_;
  mutable Mutex mu_;
  // INVARIANT: used_ <= limit_
  std::uint64_t used_ CKPTFS_GUARDED_BY(mu_) = 0;
  std::deque<Waiter> waiters_ CKPTFS_GUARDED_BY(mu_);
};

// min(1 GiB, 1/8 of the memory of this machine or cgroup).
std::uint64_t DefaultMemoryLimit();

}  // namespace ckptfs
