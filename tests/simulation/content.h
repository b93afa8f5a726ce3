// Content: which write each byte of a file comes from. Bytes in the simulation
// tell by themselves who wrote them and where they belong, so that a file is
// known by a handful of runs and a torn or mixed one shows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace ckptfs::sim {

// One write of one program; 0: zeros that nobody wrote.
using WriteId = std::uint32_t;

// The byte that write `id` puts at `offset` of a file.
std::byte ByteOf(WriteId id, std::uint64_t offset);
// Fills `to` with the bytes that write `id` puts at `offset`.
void Fill(std::span<std::byte> to, WriteId id, std::uint64_t offset);

class Content {
 public:
  struct Run {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    WriteId id = 0;
    friend bool operator==(const Run&, const Run&) = default;
  };

  std::uint64_t size() const { return runs_.empty() ? 0 : runs_.back().end; }
  const std::vector<Run>& runs() const { return runs_; }
  // A write beyond the end leaves zeros before it.
  void Write(std::uint64_t begin, std::uint64_t end, WriteId id);
  void Resize(std::uint64_t size);

  // Whether `bytes` are the ones at [offset, offset + bytes.size()).
  bool Matches(std::uint64_t offset, std::span<const std::byte> bytes) const;
  // "3@0-4096 0@4096-8192": write ids and ranges.
  std::string Describe() const;
  friend bool operator==(const Content&, const Content&) = default;

 private:
  // INVARIANT: contiguous from 0, none empty, neighbours differ in id.
  std::vector<Run> runs_;
};

// The same of bytes as they were found, as far as they can be told; for
// messages.
std::string DescribeBytes(std::uint64_t offset,
                          std::span<const std::byte> bytes);

}  // namespace ckptfs::sim
