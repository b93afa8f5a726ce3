// BlockTable: the pieces of one object that are in memory or on their way, by
// offset. Pieces never overlap; a piece goes as soon as all of it was handed
// out.
#pragma once

#include <ckptfs/error.h>
#include <ckptfs/future.h>

#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "common/memory_budget.h"
#include "common/slab_pool.h"

namespace ckptfs::fs {

// Bytes of the object and the budget they are charged to. Owned by the table,
// by a transfer that fills it and by payloads that were handed out; whoever is
// last gives the memory back, on any thread.
struct BlockMemory {
  Reservation reservation;
  std::shared_ptr<Slab> slab;          // a block of read-ahead, or
  std::unique_ptr<std::byte[]> bytes;  // a read of exactly this
  std::byte* data = nullptr;
};

// One ranged GET; fills one block or several. Strand only.
struct Fetch {
  std::uint64_t stream_id = 0;  // 0: a random read
  bool caught_up = false;       // a reader has waited for it
  SteadyTime sent{};            // where the stream has a clock
  std::uint64_t bytes = 0;
  bool done = false;
  std::optional<Error> error;
  std::stop_source stop;
  int blocks = 0;  // in the table

  // Ready when the fetch has ended or was given up.
  Future<void> Wait();
  void Wake();

 private:
  std::vector<Promise<void>> waiters_;
};

struct Block {
  std::uint64_t begin = 0;
  std::uint64_t size = 0;
  std::shared_ptr<BlockMemory> memory;
  std::shared_ptr<Fetch> fetch;
  // What was handed out: sorted, disjoint, not adjacent [begin, end).
  std::vector<std::pair<std::uint64_t, std::uint64_t>> handed;

  std::uint64_t end() const { return begin + size; }
};

// Strand only. Dropping the last block of an unfinished fetch cancels it.
class BlockTable {
 public:
  // REQUIRES: it overlaps no other block; its fetch is set.
  void Insert(Block block);
  // The block that holds byte `offset`; nullptr if there is none. Valid until
  // the next change of the table.
  Block* Find(std::uint64_t offset);
  // Where the first block at or behind `offset` begins; UINT64_MAX: nowhere.
  std::uint64_t NextBegin(std::uint64_t offset) const;
  // Where the last block in front of `offset` ends; 0: at none.
  std::uint64_t PreviousEnd(std::uint64_t offset) const;
  // Bytes held or on their way.
  std::uint64_t bytes() const { return bytes_; }
  bool empty() const { return blocks_.empty(); }

  // [begin, end), inside the block at `begin`, was handed out.
  void MarkHanded(std::uint64_t begin, std::uint64_t end);
  void DropFetch(const Fetch& fetch);
  void DropStream(std::uint64_t stream_id);
  // Blocks of that stream that end at or before `offset`.
  void DropBehind(std::uint64_t stream_id, std::uint64_t offset);
  // Keeps the `keep` youngest random reads that were handed out in part.
  void TrimRandom(std::size_t keep);
  // Everything, waking whoever waits.
  void Clear();

 private:
  using Map = std::map<std::uint64_t, Block>;
  Map::iterator Erase(Map::iterator it);

  Map blocks_;  // by begin
  std::uint64_t bytes_ = 0;
  std::list<std::uint64_t> random_;  // begins of random reads, oldest first
};

}  // namespace ckptfs::fs
