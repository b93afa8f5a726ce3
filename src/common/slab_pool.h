// SlabPool: page-aligned buffers of one size, recycled. A slab is what the
// kernel fills with one FUSE request, what a part is gathered from, and what a
// ranged GET is scattered into.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

namespace ckptfs {

class SlabPool;

// Exclusive memory of one slab; goes back to its pool when the last reference
// is dropped, from any thread.
class Slab {
 public:
  Slab(std::byte* data, std::size_t size) : data_(data), size_(size) {}
  Slab(const Slab&) = delete;
  Slab& operator=(const Slab&) = delete;
  ~Slab();

  std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  std::byte* const data_;
  const std::size_t size_;
};

// A range of a slab that is kept alive by it.
struct SlabSlice {
  std::shared_ptr<Slab> slab;
  std::size_t offset = 0;
  std::size_t size = 0;

  std::span<const std::byte> bytes() const {
    return {slab->data() + offset, size};
  }
};

// Thread-safe. Slabs may outlive the pool. The pool does not limit how many
// slabs are out: MemoryBudget does.
class SlabPool {
 public:
  // A request of 1 MiB plus one page for the FUSE header in front of it.
  static constexpr std::size_t kSlabBytes = (1u << 20) + 4096;

  // Keeps at most `max_idle` returned slabs for reuse; more are freed.
  explicit SlabPool(std::size_t max_idle);
  ~SlabPool();

  // Contents are undefined. Never fails (bad_alloc ends the program).
  std::shared_ptr<Slab> Acquire();

  // Slabs handed out and not yet returned; for tests and metrics.
  std::size_t outstanding() const;

 private:
  struct Shared;
  const std::shared_ptr<Shared> shared_;
};

}  // namespace ckptfs
