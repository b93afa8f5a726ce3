// Cursors over gathered and scattered memory: the bytes curl reads from and
// writes to, in place.
#pragma once

#include <ckptfs/object_store.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace ckptfs {

// Copies out of gathered segments in order. Not thread-safe.
class GatherCursor {
 public:
  explicit GatherCursor(const std::vector<std::span<const std::byte>>& segments)
      : segments_(&segments) {}

  // Copies up to `size` bytes; 0 at the end.
  std::size_t Read(std::byte* to, std::size_t size) {
    std::size_t done = 0;
    while (done < size && index_ < segments_->size()) {
      const std::span<const std::byte> segment = (*segments_)[index_];
      const std::size_t n = std::min(size - done, segment.size() - offset_);
      if (n > 0) std::memcpy(to + done, segment.data() + offset_, n);
      done += n;
      offset_ += n;
      if (offset_ == segment.size()) {
        ++index_;
        offset_ = 0;
      }
    }
    return done;
  }

  // False if `position` lies beyond the end.
  bool Seek(std::uint64_t position) {
    index_ = 0;
    offset_ = 0;
    while (index_ < segments_->size()) {
      const std::size_t size = (*segments_)[index_].size();
      if (position < size) break;
      position -= size;
      ++index_;
    }
    offset_ = static_cast<std::size_t>(position);
    return index_ < segments_->size() || position == 0;
  }

  bool at_end() const { return index_ == segments_->size(); }

 private:
  const std::vector<std::span<const std::byte>>* segments_;
  std::size_t index_ = 0;
  std::size_t offset_ = 0;
};

// Copies into scattered segments in order. Not thread-safe.
class ScatterCursor {
 public:
  explicit ScatterCursor(const std::vector<std::span<std::byte>>& segments)
      : segments_(&segments) {}

  // Stores up to `size` bytes; less only when the segments are full.
  std::size_t Write(const std::byte* from, std::size_t size) {
    std::size_t done = 0;
    while (done < size && index_ < segments_->size()) {
      const std::span<std::byte> segment = (*segments_)[index_];
      const std::size_t n = std::min(size - done, segment.size() - offset_);
      if (n > 0) std::memcpy(segment.data() + offset_, from + done, n);
      done += n;
      offset_ += n;
      if (offset_ == segment.size()) {
        ++index_;
        offset_ = 0;
      }
    }
    return done;
  }

 private:
  const std::vector<std::span<std::byte>>* segments_;
  std::size_t index_ = 0;
  std::size_t offset_ = 0;
};

}  // namespace ckptfs
