#include "fs/read/stream_detector.h"

#include <algorithm>

namespace ckptfs::fs {
namespace {

// How far requests of one reader may overtake each other.
constexpr std::uint64_t kReorderBytes = 2ull << 20;
// The least the kernel asks for when it reads ahead (VM_READAHEAD_PAGES).
constexpr std::uint64_t kKernelReadAhead = 128ull << 10;
constexpr std::size_t kMaxCandidates = 8;

}  // namespace

SequentialStream* StreamDetector::Find(std::uint64_t id) {
  for (SequentialStream& s : streams_) {
    if (s.id == id) return &s;
  }
  return nullptr;
}

// The stream whose position is nearest, within the tolerance.
SequentialStream* StreamDetector::Match(std::uint64_t offset) {
  SequentialStream* best = nullptr;
  std::uint64_t best_distance = kReorderBytes;
  for (SequentialStream& s : streams_) {
    const std::uint64_t distance =
        offset > s.next ? offset - s.next : s.next - offset;
    if (distance <= best_distance) {
      best = &s;
      best_distance = distance;
    }
  }
  return best;
}

bool StreamDetector::Confirms(std::uint64_t offset, std::uint64_t size,
                              std::uint64_t* stream_end) {
  // Large requests may have changed places; small ones that are near but do
  // not follow each other are random access in a small file.
  const bool large = size >= kKernelReadAhead;
  const std::uint64_t gap = large ? std::min(2 * size, kReorderBytes) : 0;
  for (auto it = candidates_.begin(); it != candidates_.end(); ++it) {
    if (offset >= (large ? it->begin : it->end) && offset <= it->end + gap &&
        offset + size > it->end) {
      *stream_end = offset + size;
      candidates_.erase(it);
      return true;
    }
    if (large && offset < it->begin && offset + size + gap >= it->begin) {
      it->begin = offset;  // the earlier of two that changed places
      return false;
    }
  }
  candidates_.push_front({offset, offset + size});
  if (candidates_.size() > kMaxCandidates) candidates_.pop_back();
  return false;
}

StreamDetector::Access StreamDetector::Start(std::uint64_t next) {
  Access access;
  SequentialStream stream;
  stream.id = ++last_id_;
  stream.next = next;
  stream.ahead_end = next;
  streams_.push_front(stream);
  if (streams_.size() > static_cast<std::size_t>(std::max(1, max_streams_))) {
    access.evicted_id = streams_.back().id;
    streams_.pop_back();
  }
  access.stream = &streams_.front();
  access.started = true;
  return access;
}

StreamDetector::Access StreamDetector::Note(std::uint64_t offset,
                                            std::uint64_t size) {
  const std::uint64_t end = offset + size;
  if (SequentialStream* stream = Match(offset)) {
    stream->next = std::max(stream->next, end);
    const auto it =
        std::find_if(streams_.begin(), streams_.end(),
                     [&](const auto& s) { return s.id == stream->id; });
    streams_.splice(streams_.begin(), streams_, it);
    Access access;
    access.stream = stream;
    return access;
  }
  if (offset == 0) return Start(end);
  std::uint64_t confirmed_end = 0;
  if (!Confirms(offset, size, &confirmed_end)) return {};
  // A reader that skipped a part of what was read ahead for it goes on there.
  for (SequentialStream& s : streams_) {
    if (offset > s.next && offset < s.ahead_end) {
      s.next = confirmed_end;
      Access access;
      access.stream = &s;
      return access;
    }
  }
  return Start(confirmed_end);
}

}  // namespace ckptfs::fs
