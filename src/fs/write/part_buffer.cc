#include "fs/write/part_buffer.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>
#include <vector>

namespace ckptfs::fs {

namespace {

constexpr std::size_t kZeroBytes = 1u << 20;
// In .bss: costs address space, not memory, as long as it is only read.
std::byte zeros[kZeroBytes];

}  // namespace

void AppendZeros(Payload& payload, std::uint64_t size) {
  while (size > 0) {
    const std::size_t n = std::min<std::uint64_t>(size, kZeroBytes);
    payload.segments.emplace_back(zeros, n);
    size -= n;
  }
}

void PartBuffer::Place(std::uint64_t offset, SlabSlice slice, SlabPool& slabs) {
  if (slice.size == 0) return;
  CompactIfWasteful(slabs);
  memory_bytes_ += slice.slab->size();
  Cut(offset, offset + slice.size);
  Insert(offset, std::move(slice));
}

void PartBuffer::Copy(std::uint64_t offset, std::span<const std::byte> bytes,
                      SlabPool& slabs) {
  CompactIfWasteful(slabs);
  while (!bytes.empty()) {
    if (fill_ == nullptr || fill_used_ == kFillBytes) {
      fill_ = slabs.Acquire();
      fill_used_ = 0;
      memory_bytes_ += fill_->size();
    }
    const std::size_t n = std::min(bytes.size(), kFillBytes - fill_used_);
    std::memcpy(fill_->data() + fill_used_, bytes.data(), n);
    Cut(offset, offset + n);
    Insert(offset, SlabSlice{fill_, fill_used_, n});
    fill_used_ += n;
    offset += n;
    bytes = bytes.subspan(n);
  }
}

std::uint64_t PartBuffer::CopyCost(std::size_t bytes) const {
  const std::size_t room = fill_ == nullptr ? 0 : kFillBytes - fill_used_;
  if (bytes <= room) return 0;
  const std::uint64_t fresh = (bytes - room + kFillBytes - 1) / kFillBytes;
  return fresh * SlabPool::kSlabBytes;
}

void PartBuffer::Truncate(std::uint64_t size) { Cut(size, UINT64_MAX); }

std::uint64_t PartBuffer::end() const {
  if (extents_.empty()) return 0;
  const auto last = std::prev(extents_.end());
  return last->first + last->second.size;
}

bool PartBuffer::Covers(std::uint64_t size) const {
  std::uint64_t at = 0;
  for (const auto& [start, slice] : extents_) {
    if (start > at) return false;
    at = start + slice.size;
    if (at >= size) return true;
  }
  return at >= size;
}

Payload PartBuffer::Gather(std::uint64_t begin, std::uint64_t end) const {
  Payload payload;
  auto owners = std::make_shared<std::vector<std::shared_ptr<Slab>>>();
  std::uint64_t at = begin;
  auto it = extents_.upper_bound(begin);
  if (it != extents_.begin()) --it;
  for (; it != extents_.end() && it->first < end; ++it) {
    const auto& [start, slice] = *it;
    const std::uint64_t stop = start + slice.size;
    if (stop <= at) continue;
    if (start > at) {
      AppendZeros(payload, start - at);
      at = start;
    }
    const std::uint64_t skip = at - start;
    const std::uint64_t n = std::min(stop, end) - at;
    payload.segments.push_back(slice.bytes().subspan(skip, n));
    if (owners->empty() || owners->back() != slice.slab) {
      owners->push_back(slice.slab);
    }
    at += n;
  }
  if (at < end) AppendZeros(payload, end - at);
  payload.owner = std::move(owners);
  return payload;
}

void PartBuffer::Cut(std::uint64_t begin, std::uint64_t end) {
  auto it = extents_.upper_bound(begin);
  if (it != extents_.begin()) {
    auto before = std::prev(it);
    const std::uint64_t stop = before->first + before->second.size;
    if (stop > begin) {
      overwritten_bytes_ += std::min(stop, end) - begin;
      if (stop > end) {
        const std::uint64_t skip = end - before->first;
        SlabSlice tail = before->second;
        tail.offset += skip;
        tail.size -= skip;
        extents_.emplace(end, std::move(tail));
      }
      before->second.size = begin - before->first;
      if (before->second.size == 0) extents_.erase(before);
    }
  }
  it = extents_.lower_bound(begin);
  while (it != extents_.end() && it->first < end) {
    const std::uint64_t stop = it->first + it->second.size;
    if (stop <= end) {
      overwritten_bytes_ += it->second.size;
      it = extents_.erase(it);
      continue;
    }
    const std::uint64_t skip = end - it->first;
    overwritten_bytes_ += skip;
    SlabSlice tail = it->second;
    tail.offset += skip;
    tail.size -= skip;
    extents_.erase(it);
    extents_.emplace(end, std::move(tail));
    break;
  }
}

void PartBuffer::Insert(std::uint64_t offset, SlabSlice slice) {
  auto after = extents_.lower_bound(offset);
  if (after != extents_.begin()) {
    auto before = std::prev(after);
    SlabSlice& left = before->second;
    // A run of small writes lies side by side in the file and in the slab:
    // one extent.
    if (before->first + left.size == offset && left.slab == slice.slab &&
        left.offset + left.size == slice.offset) {
      left.size += slice.size;
      return;
    }
  }
  extents_.emplace(offset, std::move(slice));
}

void PartBuffer::CompactIfWasteful(SlabPool& slabs) {
  if (overwritten_bytes_ <= 2 * kFillBytes ||
      overwritten_bytes_ <= memory_bytes_ / 2) {
    return;
  }
  std::map<std::uint64_t, SlabSlice> old = std::exchange(extents_, {});
  fill_.reset();
  fill_used_ = 0;
  memory_bytes_ = 0;
  overwritten_bytes_ = 0;
  for (auto& [start, slice] : old) Copy(start, slice.bytes(), slabs);
}

}  // namespace ckptfs::fs
