// PartBuffer: the bytes of one part in memory, as immutable slices over slabs.
// A byte that was handed to an upload is never changed in place: a rewrite puts
// a new slice over it, so that a snapshot stays what it was.
#pragma once

#include <ckptfs/object_store.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>

#include "common/slab_pool.h"

namespace ckptfs::fs {

// Offsets are relative to the part's start. Strand only.
class PartBuffer {
 public:
  // Usable bytes of a slab that small writes are copied into.
  static constexpr std::size_t kFillBytes = 1u << 20;

  // Takes the slice as it is (a large write).
  void Place(std::uint64_t offset, SlabSlice slice, SlabPool& slabs);
  // Copies (a small write).
  void Copy(std::uint64_t offset, std::span<const std::byte> bytes,
            SlabPool& slabs);
  // Drops bytes at and behind `size`; what is written there later starts from
  // zeros.
  void Truncate(std::uint64_t size);

  bool empty() const { return extents_.empty(); }
  // One past the last byte written.
  std::uint64_t end() const;
  // Every byte of [0, size) was written.
  bool Covers(std::uint64_t size) const;
  // Slab bytes this part keeps alive; at most twice what it holds plus one slab
  // (rewritten bytes are compacted away).
  std::uint64_t memory_bytes() const { return memory_bytes_; }
  // What `Copy` of so many bytes would add to memory_bytes().
  std::uint64_t CopyCost(std::size_t bytes) const;

  // [begin, end) as a payload; bytes never written read as zeros.
  Payload Gather(std::uint64_t begin, std::uint64_t end) const;

 private:
  // Removes [begin, end) from the extents.
  void Cut(std::uint64_t begin, std::uint64_t end);
  void Insert(std::uint64_t offset, SlabSlice slice);
  // Copies everything together once rewritten bytes waste more than half.
  void CompactIfWasteful(SlabPool& slabs);

  std::map<std::uint64_t, SlabSlice> extents_;  // disjoint, by start
  std::shared_ptr<Slab> fill_;                  // where small writes go
  std::size_t fill_used_ = 0;
  std::uint64_t memory_bytes_ = 0;
  std::uint64_t overwritten_bytes_ = 0;  // since the last compaction
};

// Appends `size` zero bytes to a payload; they take no memory.
void AppendZeros(Payload& payload, std::uint64_t size);

}  // namespace ckptfs::fs
