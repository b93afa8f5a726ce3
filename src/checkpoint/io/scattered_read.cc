#include "checkpoint/io/scattered_read.h"

#include <utility>

namespace ckptfs {

namespace {

// Ranges that lie no further apart travel together; a request costs more than
// these bytes. It covers a zip header (some 130 bytes) and what stands between
// two tensors in a file of distributed checkpoints (2 KiB).
constexpr std::uint64_t kMaxGap = 8192;
// Nothing joins a run that is longer: what has arrived is told run by run.
constexpr std::uint64_t kMaxRun = 64ull << 20;
// What the gaps of a run may take: it is memory beyond the tensors.
constexpr std::uint64_t kMaxGaps = 1ull << 20;

}  // namespace

void RangeRuns::Add(std::uint64_t begin, std::uint64_t end) {
  if (runs_.empty() || begin < runs_.back().end ||
      begin - runs_.back().end > kMaxGap ||
      runs_.back().end - runs_.back().begin > kMaxRun || gaps_ > kMaxGaps) {
    runs_.push_back({begin, begin, added_, added_});
    gaps_ = 0;
  }
  gaps_ += begin - runs_.back().end;
  runs_.back().end = end;
  runs_.back().last = ++added_;
}

ScatteredRead::ScatteredRead(std::uint64_t begin, std::shared_ptr<void> owner)
    : end_(begin), memory_(std::make_shared<Memory>()) {
  memory_->owner = std::move(owner);
}

void ScatteredRead::Add(std::uint64_t begin, std::span<std::byte> memory) {
  std::string& gap = memory_->gaps.emplace_back(begin - end_, '\0');
  if (!gap.empty()) {
    segments_.push_back(std::as_writable_bytes(std::span(gap)));
  }
  segments_.push_back(memory);
  end_ = begin + memory.size();
}

Destination ScatteredRead::TakeDestination() {
  Destination destination;
  destination.segments = std::move(segments_);
  destination.owner = memory_;
  return destination;
}

}  // namespace ckptfs
