#include "common/memory_budget.h"

#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

namespace ckptfs {

Reservation::Reservation(Reservation&& other) noexcept
    : budget_(std::exchange(other.budget_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)) {}

Reservation& Reservation::operator=(Reservation&& other) noexcept {
  if (this != &other) {
    Release();
    budget_ = std::exchange(other.budget_, nullptr);
    bytes_ = std::exchange(other.bytes_, 0);
  }
  return *this;
}

void Reservation::Release() {
  MemoryBudget* budget = std::exchange(budget_, nullptr);
  const std::uint64_t bytes = std::exchange(bytes_, 0);
  if (budget != nullptr && bytes > 0) budget->Return(bytes);
}

void Reservation::Merge(Reservation other) {
  assert(budget_ == nullptr || other.budget_ == nullptr ||
         budget_ == other.budget_);
  if (budget_ == nullptr) budget_ = other.budget_;
  bytes_ += std::exchange(other.bytes_, 0);
  other.budget_ = nullptr;
}

Reservation Reservation::Split(std::uint64_t bytes) {
  assert(bytes <= bytes_);
  bytes_ -= bytes;
  return Reservation(budget_, bytes);
}

MemoryBudget::MemoryBudget(std::uint64_t limit_bytes) : limit_(limit_bytes) {}

MemoryBudget::~MemoryBudget() { assert(used_ == 0); }

std::optional<Reservation> MemoryBudget::TryReserve(std::uint64_t bytes) {
  MutexLock lock(mu_);
  if (!waiters_.empty() || bytes > limit_ - used_) return std::nullopt;
  used_ += bytes;
  return Reservation(this, bytes);
}

Future<Reservation> MemoryBudget::Reserve(std::uint64_t bytes) {
  MutexLock lock(mu_);
  if (bytes > limit_) {
    return Future<Reservation>(
        Fail(ErrorCode::kTooLarge,
             std::to_string(bytes) + " bytes exceed the memory limit of " +
                 std::to_string(limit_) + " bytes; raise --memory-limit"));
  }
  if (waiters_.empty() && bytes <= limit_ - used_) {
    used_ += bytes;
    return Future<Reservation>(Reservation(this, bytes));
  }
  Waiter waiter{bytes, {}};
  Future<Reservation> future = waiter.promise.GetFuture();
  waiters_.push_back(std::move(waiter));
  return future;
}

std::uint64_t MemoryBudget::used() const {
  MutexLock lock(mu_);
  return used_;
}

void MemoryBudget::Return(std::uint64_t bytes) {
  std::vector<Waiter> served;
  {
    MutexLock lock(mu_);
    assert(bytes <= used_);
    used_ -= bytes;
    while (!waiters_.empty() && waiters_.front().bytes <= limit_ - used_) {
      used_ += waiters_.front().bytes;
      served.push_back(std::move(waiters_.front()));
      waiters_.pop_front();
    }
  }
  for (Waiter& w : served) w.promise.Set(Reservation(this, w.bytes));
}

std::uint64_t DefaultMemoryLimit() {
  std::uint64_t memory = static_cast<std::uint64_t>(sysconf(_SC_PHYS_PAGES)) *
                         static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  // cgroup v2 (kernel: Documentation/admin-guide/cgroup-v2.rst); "max" fails to
  // parse and leaves the machine's memory.
  std::ifstream limit_file("/sys/fs/cgroup/memory.max");
  std::uint64_t limit = 0;
  if (limit_file >> limit) memory = std::min(memory, limit);
  return std::min<std::uint64_t>(std::uint64_t{1} << 30, memory / 8);
}

}  // namespace ckptfs
