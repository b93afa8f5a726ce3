// ScatteredRead: neighbouring ranges of a file in one request: each goes into
// memory of its own, what lies between is read too and thrown away.
#pragma once

#include <ckptfs/object_store.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ckptfs {

// Which ranges travel together: [first, last) of those that were added, which
// span [begin, end) of the file.
struct RangeRun {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  std::size_t first = 0;
  std::size_t last = 0;
};

class RangeRuns {
 public:
  // In the order of their beginnings. One that begins before the last one's end
  // begins a run.
  void Add(std::uint64_t begin, std::uint64_t end);
  const std::vector<RangeRun>& runs() const { return runs_; }

 private:
  std::vector<RangeRun> runs_;
  std::size_t added_ = 0;
  std::uint64_t gaps_ = 0;  // in the last run
};

class ScatteredRead {
 public:
  // From byte `begin` of the file. `owner` keeps the memory that is added alive
  // until no thread touches it.
  ScatteredRead(std::uint64_t begin, std::shared_ptr<void> owner);

  // REQUIRES: `begin` lies at or behind the end of the one before.
  void Add(std::uint64_t begin, std::span<std::byte> memory);

  // Once, after the last Add.
  Destination TakeDestination();
  // The bytes between the i-th that was added and what is before it. Valid
  // after the read, while this lives.
  std::string_view Before(std::size_t i) const { return memory_->gaps[i]; }

 private:
  struct Memory {
    std::shared_ptr<void> owner;
    std::deque<std::string> gaps;  // stay where they are
  };

  std::uint64_t end_;  // of what was added
  const std::shared_ptr<Memory> memory_;
  std::vector<std::span<std::byte>> segments_;
};

}  // namespace ckptfs
