// The bytes of pattern objects: a function of the offset alone, so that huge
// objects cost no memory and a test can check any range without the whole.
//
// The object is a row of 8-byte little-endian words. The word at offset w (a
// multiple of 8) is
//   w                                            if w % 4096 == 0,
//   (w % 2^20) * 0x9E3779B97F4A7C15 (mod 2^64)   otherwise.
// So a 1 MiB block repeats except for the first word of each 4 KiB page, which
// tells the page's place: two pages are never equal, and a block is made from
// the one before by writing 256 words.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace ckptfs::s3server {

inline constexpr std::uint64_t kPatternBlockBytes = 1 << 20;
inline constexpr std::uint64_t kPatternPageBytes = 4096;

// REQUIRES: offset % 8 == 0.
inline std::uint64_t PatternWord(std::uint64_t offset) {
  if (offset % kPatternPageBytes == 0) return offset;
  return (offset % kPatternBlockBytes) * 0x9E3779B97F4A7C15ULL;
}

// Writes the pattern's bytes [offset, offset + size) to `out`.
void FillPattern(std::uint64_t offset, char* out, std::size_t size);

// One block of the pattern that can be moved: serving from it costs 256 stores
// per MiB. Not thread-safe; each connection has its own.
class PatternBlock {
 public:
  PatternBlock();
  // The bytes from `offset` to the end of its block, valid until the next call.
  struct Bytes {
    const char* data;
    std::size_t size;
  };
  Bytes At(std::uint64_t offset);

 private:
  std::unique_ptr<std::uint64_t[]> words_;
  std::uint64_t block_ = 0;  // the block that words_ holds
};

}  // namespace ckptfs::s3server
