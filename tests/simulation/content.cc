#include "simulation/content.h"

#include <algorithm>
#include <cstring>

namespace ckptfs::sim {

namespace {

// The word at [8k, 8k + 8): who, and where.
std::uint64_t Word(WriteId id, std::uint64_t k) {
  if (id == 0) return 0;
  return (std::uint64_t{id} << 32) | ((k + 1) & 0xffffffffu);
}

void Append(std::vector<Content::Run>& runs, Content::Run run) {
  if (run.begin >= run.end) return;
  if (!runs.empty() && runs.back().id == run.id) {
    runs.back().end = run.end;
  } else {
    runs.push_back(run);
  }
}

bool RangeMatches(WriteId id, std::uint64_t offset,
                  std::span<const std::byte> bytes) {
  std::size_t i = 0;
  while (i < bytes.size() && (offset + i) % 8 != 0) {
    if (bytes[i] != ByteOf(id, offset + i)) return false;
    ++i;
  }
  for (; i + 8 <= bytes.size(); i += 8) {
    std::uint64_t word;
    std::memcpy(&word, bytes.data() + i, 8);
    if (word != Word(id, (offset + i) / 8)) return false;
  }
  for (; i < bytes.size(); ++i) {
    if (bytes[i] != ByteOf(id, offset + i)) return false;
  }
  return true;
}

}  // namespace

std::byte ByteOf(WriteId id, std::uint64_t offset) {
  return static_cast<std::byte>(Word(id, offset / 8) >> (8 * (offset % 8)));
}

void Fill(std::span<std::byte> to, WriteId id, std::uint64_t offset) {
  std::size_t i = 0;
  for (; i < to.size() && (offset + i) % 8 != 0; ++i) {
    to[i] = ByteOf(id, offset + i);
  }
  for (; i + 8 <= to.size(); i += 8) {
    const std::uint64_t word = Word(id, (offset + i) / 8);
    std::memcpy(to.data() + i, &word, 8);
  }
  for (; i < to.size(); ++i) to[i] = ByteOf(id, offset + i);
}

void Content::Write(std::uint64_t begin, std::uint64_t end, WriteId id) {
  if (begin >= end) return;
  if (size() < begin) Resize(begin);
  std::vector<Run> out;
  for (const Run& run : runs_) {
    Append(out, {run.begin, std::min(run.end, begin), run.id});
  }
  Append(out, {begin, end, id});
  for (const Run& run : runs_) {
    Append(out, {std::max(run.begin, end), run.end, run.id});
  }
  runs_ = std::move(out);
}

void Content::Resize(std::uint64_t size) {
  if (size > this->size()) {
    Append(runs_, {this->size(), size, 0});
    return;
  }
  while (!runs_.empty() && runs_.back().begin >= size) runs_.pop_back();
  if (!runs_.empty()) runs_.back().end = std::min(runs_.back().end, size);
}

bool Content::Matches(std::uint64_t offset,
                      std::span<const std::byte> bytes) const {
  const std::uint64_t end = offset + bytes.size();
  if (bytes.empty()) return true;
  if (end > size()) return false;
  for (const Run& run : runs_) {
    const std::uint64_t from = std::max(run.begin, offset);
    const std::uint64_t to = std::min(run.end, end);
    if (from >= to) continue;
    if (!RangeMatches(run.id, from, bytes.subspan(from - offset, to - from))) {
      return false;
    }
  }
  return true;
}

std::string Content::Describe() const {
  std::string out = std::to_string(size()) + " bytes:";
  for (const Run& run : runs_) {
    out += " " + std::to_string(run.id) + "@" + std::to_string(run.begin) +
           "-" + std::to_string(run.end);
  }
  return out;
}

std::string DescribeBytes(std::uint64_t offset,
                          std::span<const std::byte> bytes) {
  Content found;
  found.Resize(offset);
  std::uint64_t at = offset;
  const std::uint64_t end = offset + bytes.size();
  while (at < end) {
    // Of a word that is cut the id may be unreadable: it takes the one before.
    const std::uint64_t stop = std::min(end, (at / 8 + 1) * 8);
    WriteId id = found.runs().empty() ? 0 : found.runs().back().id;
    if (stop - at == 8) {
      std::uint64_t word;
      std::memcpy(&word, bytes.data() + (at - offset), 8);
      id = static_cast<WriteId>(word >> 32);
      if (word != Word(id, at / 8)) id = 0xffffffffu;  // not where it belongs
    }
    found.Write(at, stop, id);
    at = stop;
  }
  return found.Describe();
}

}  // namespace ckptfs::sim
