// WriteMemory: how the writers of all files share the budget. A writer that
// finds it used up waits for an upload that frees memory; retained parts are
// given up first. When nothing is in flight that could free any, waiting would
// last for ever: then that one writer gets kResourceExhausted (ENOSPC).
#pragma once

#include <algorithm>
#include <cstdint>
#include <list>
#include <optional>

#include "common/memory_budget.h"
#include "common/task.h"
#include "fs/strand_sync.h"

namespace ckptfs::fs {

// Somebody who keeps memory that can be dropped without losing a byte.
class MemoryRetainer {
 public:
  virtual ~MemoryRetainer() = default;
  // Drops the least useful retained part; false if there is none.
  virtual bool DropRetained() = 0;
};

// Strand only.
class WriteMemory {
 public:
  explicit WriteMemory(MemoryBudget& budget)
      : budget_(budget),
        kept_for_reads_(
            std::min<std::uint64_t>(16u << 20, budget.limit() / 8)) {}

  // At once or not at all; gives up retained parts of other files if need be.
  std::optional<Reservation> Try(std::uint64_t bytes);
  // First come first served.
  Task<Result<Reservation>> Reserve(std::uint64_t bytes);

  // Around every transfer whose end may free memory.
  void TransferStarted() { ++transfers_; }
  void TransferEnded();
  // Memory was freed without a transfer (truncate, discard).
  void Freed() { freed_.NotifyAll(); }

  void AddRetainer(MemoryRetainer* retainer);
  void RemoveRetainer(MemoryRetainer* retainer);

 private:
  std::optional<Reservation> TryNow(std::uint64_t bytes);

  MemoryBudget& budget_;
  // What writers leave alone: a program that reads to write (cp) must get its
  // read when unfinished files have taken the rest.
  const std::uint64_t kept_for_reads_;
  int transfers_ = 0;
  StrandEvent freed_;
  StrandMutex queue_;  // who waits for memory, in order
  std::list<MemoryRetainer*> retainers_;
};

}  // namespace ckptfs::fs
