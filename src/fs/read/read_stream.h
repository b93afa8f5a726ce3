// ReadStream: serves one handle's reads of one pinned object version, with
// parallel read-ahead. A forward reader gets a growing window of ranged GETs
// in flight; a random reader fetches what it needs. Several interleaved
// sequential streams per handle are told apart.
#pragma once

#include <ckptfs/object_store.h>

#include <cstdint>
#include <memory>

#include "common/clock.h"
#include "common/memory_budget.h"
#include "common/slab_pool.h"
#include "common/task.h"
#include "transfer/object_reader.h"

namespace ckptfs::fs {

struct ReadStreamOptions {
  std::uint64_t max_window_bytes = 192ull << 20;  // prefetched and in flight
  std::uint64_t first_range_bytes = 1ull << 20;   // doubles up to max_range
  std::uint64_t max_range_bytes = 8ull << 20;
  std::uint64_t first_window_ranges = 4;  // of first_range_bytes each
  int max_streams = 4;
  // Read-ahead requests on the wire; what a reader waits for comes on top.
  int max_ranges_in_flight = 8;
  // The window grows only while ranges come in at less than this, counted from
  // their request: where the store is faster, a reader that waits is short of
  // CPU, not of requests on the wire, and more memory in flight only drives
  // the bytes out of the CPU's cache before they are copied on. One S3
  // connection gives 50 to 90 MiB/s. Without a clock every range is slow.
  const Clock* clock = nullptr;
  std::uint64_t slow_bytes_per_second = 64ull << 20;
};

// Lives on the strand. May be destroyed while reads are awaited: they finish
// with kCancelled. Blocks are dropped once handed out in full: the kernel's
// page cache keeps them.
class ReadStream {
 public:
  ReadStream(ObjectStore& store, Executor& strand, MemoryBudget& budget,
             SlabPool& slabs, ObjectInfo pinned, ReadStreamOptions options);
  ~ReadStream();

  // [offset, offset + size), short only at the end of the object. The payload
  // refers to the fetched blocks, uncopied. kStale: the object was replaced.
  Task<Result<Payload>> Read(std::uint64_t offset, std::size_t size);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace ckptfs::fs
