#include "s3server/pattern.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace ckptfs::s3server {

static_assert(std::endian::native == std::endian::little,
              "the pattern's words are little-endian");

void FillPattern(std::uint64_t offset, char* out, std::size_t size) {
  while (size > 0) {
    const std::uint64_t word = PatternWord(offset - offset % 8);
    const std::size_t skip = offset % 8;
    const std::size_t take = std::min<std::size_t>(8 - skip, size);
    std::memcpy(out, reinterpret_cast<const char*>(&word) + skip, take);
    out += take;
    offset += take;
    size -= take;
  }
}

PatternBlock::PatternBlock()
    : words_(new std::uint64_t[kPatternBlockBytes / 8]) {
  FillPattern(0, reinterpret_cast<char*>(words_.get()), kPatternBlockBytes);
}

PatternBlock::Bytes PatternBlock::At(std::uint64_t offset) {
  const std::uint64_t block = offset / kPatternBlockBytes;
  if (block != block_) {
    const std::uint64_t base = block * kPatternBlockBytes;
    for (std::uint64_t page = 0; page < kPatternBlockBytes;
         page += kPatternPageBytes) {
      words_[page / 8] = base + page;
    }
    block_ = block;
  }
  const std::uint64_t within = offset % kPatternBlockBytes;
  return {reinterpret_cast<const char*>(words_.get()) + within,
          kPatternBlockBytes - within};
}

}  // namespace ckptfs::s3server
