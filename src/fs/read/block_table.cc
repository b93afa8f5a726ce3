#include "fs/read/block_table.h"

#include <algorithm>
#include <cassert>
#include <limits>

namespace ckptfs::fs {

Future<void> Fetch::Wait() {
  waiters_.emplace_back();
  return waiters_.back().GetFuture();
}

void Fetch::Wake() {
  std::vector<Promise<void>> woken = std::exchange(waiters_, {});
  for (Promise<void>& p : woken) p.Set({});
}

void BlockTable::Insert(Block block) {
  assert(block.fetch != nullptr && block.size > 0);
  assert(Find(block.begin) == nullptr && NextBegin(block.begin) >= block.end());
  ++block.fetch->blocks;
  bytes_ += block.size;
  if (block.fetch->stream_id == 0) random_.push_back(block.begin);
  const std::uint64_t begin = block.begin;
  blocks_.emplace(begin, std::move(block));
}

Block* BlockTable::Find(std::uint64_t offset) {
  auto it = blocks_.upper_bound(offset);
  if (it == blocks_.begin()) return nullptr;
  --it;
  return offset < it->second.end() ? &it->second : nullptr;
}

std::uint64_t BlockTable::NextBegin(std::uint64_t offset) const {
  const auto it = blocks_.lower_bound(offset);
  return it == blocks_.end() ? std::numeric_limits<std::uint64_t>::max()
                             : it->first;
}

std::uint64_t BlockTable::PreviousEnd(std::uint64_t offset) const {
  const auto it = blocks_.lower_bound(offset);
  return it == blocks_.begin() ? 0 : std::prev(it)->second.end();
}

BlockTable::Map::iterator BlockTable::Erase(Map::iterator it) {
  const std::shared_ptr<Fetch> fetch = it->second.fetch;
  bytes_ -= it->second.size;
  if (fetch->stream_id == 0) random_.remove(it->first);
  const Map::iterator next = blocks_.erase(it);
  if (--fetch->blocks == 0 && !fetch->done) fetch->stop.request_stop();
  return next;
}

void BlockTable::MarkHanded(std::uint64_t begin, std::uint64_t end) {
  auto it = blocks_.upper_bound(begin);
  assert(it != blocks_.begin());
  --it;
  Block& block = it->second;
  assert(end <= block.end());
  auto& handed = block.handed;
  // Merges with every interval that touches [begin, end).
  auto first = std::find_if(handed.begin(), handed.end(),
                            [&](const auto& h) { return h.second >= begin; });
  auto last = first;
  while (last != handed.end() && last->first <= end) {
    begin = std::min(begin, last->first);
    end = std::max(end, last->second);
    ++last;
  }
  first = handed.erase(first, last);
  handed.insert(first, {begin, end});
  if (begin == block.begin && end == block.end()) Erase(it);
}

void BlockTable::DropFetch(const Fetch& fetch) {
  for (auto it = blocks_.begin(); it != blocks_.end();) {
    it = it->second.fetch.get() == &fetch ? Erase(it) : std::next(it);
  }
}

void BlockTable::DropStream(std::uint64_t stream_id) {
  DropBehind(stream_id, std::numeric_limits<std::uint64_t>::max());
}

void BlockTable::DropBehind(std::uint64_t stream_id, std::uint64_t offset) {
  for (auto it = blocks_.begin();
       it != blocks_.end() && it->second.end() <= offset;) {
    it = it->second.fetch->stream_id == stream_id ? Erase(it) : std::next(it);
  }
}

void BlockTable::TrimRandom(std::size_t keep) {
  std::vector<std::uint64_t> used;  // oldest first
  for (const std::uint64_t begin : random_) {
    const Block& block = blocks_.at(begin);
    // One that nobody has had anything of yet is still being waited for.
    if (block.fetch->done && !block.handed.empty()) used.push_back(begin);
  }
  for (std::size_t i = 0; i + keep < used.size(); ++i) {
    Erase(blocks_.find(used[i]));
  }
}

void BlockTable::Clear() {
  Map dropped = std::exchange(blocks_, {});
  random_.clear();
  bytes_ = 0;
  for (auto& [begin, block] : dropped) {
    --block.fetch->blocks;
    if (!block.fetch->done) block.fetch->stop.request_stop();
    block.fetch->Wake();
  }
}

}  // namespace ckptfs::fs
