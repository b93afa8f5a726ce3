#include "fs/write/part_buffer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace ckptfs::fs {
namespace {

std::string Text(const Payload& payload) {
  std::string out;
  for (const auto& s : payload.segments) {
    out.append(reinterpret_cast<const char*>(s.data()), s.size());
  }
  return out;
}

std::span<const std::byte> Bytes(const std::string& text) {
  return std::as_bytes(std::span(text));
}

SlabSlice Large(SlabPool& slabs, char fill, std::size_t size) {
  SlabSlice slice{slabs.Acquire(), 80, size};
  std::memset(slice.slab->data() + 80, fill, size);
  return slice;
}

TEST(PartBuffer, HolesReadAsZeros) {
  SlabPool slabs(4);
  PartBuffer part;
  part.Copy(3, Bytes("abc"), slabs);
  EXPECT_EQ(Text(part.Gather(0, 8)), std::string("\0\0\0abc\0\0", 8));
  EXPECT_FALSE(part.Covers(6));
  part.Copy(0, Bytes("xyz"), slabs);
  EXPECT_TRUE(part.Covers(6));
  EXPECT_FALSE(part.Covers(7));
}

TEST(PartBuffer, ASnapshotDoesNotSeeLaterWrites) {
  SlabPool slabs(4);
  PartBuffer part;
  part.Copy(0, Bytes("header--data"), slabs);
  const Payload before = part.Gather(0, 12);
  part.Copy(0, Bytes("HEADER"), slabs);
  EXPECT_EQ(Text(before), "header--data");
  EXPECT_EQ(Text(part.Gather(0, 12)), "HEADER--data");
}

TEST(PartBuffer, SequentialSmallWritesShareOneExtentAndSlab) {
  SlabPool slabs(4);
  PartBuffer part;
  for (int i = 0; i < 1000; ++i) {
    part.Copy(i * 100, Bytes(std::string(100, 'a')), slabs);
  }
  EXPECT_EQ(part.Gather(0, 100'000).segments.size(), 1u);
  EXPECT_EQ(part.memory_bytes(), SlabPool::kSlabBytes);
}

TEST(PartBuffer, LargeWritesAreKeptUncopied) {
  SlabPool slabs(4);
  PartBuffer part;
  SlabSlice slice = Large(slabs, 'q', 1u << 20);
  const std::byte* const where = slice.bytes().data();
  part.Place(0, std::move(slice), slabs);
  EXPECT_EQ(part.Gather(0, 1u << 20).segments.front().data(), where);
}

TEST(PartBuffer, RewritingForEverDoesNotGrow) {
  SlabPool slabs(4);
  PartBuffer part;
  const std::string page(4096, 'p');
  for (int i = 0; i < 20'000; ++i) part.Copy(0, Bytes(page), slabs);
  EXPECT_LT(part.memory_bytes(), 8 * SlabPool::kSlabBytes);
  EXPECT_EQ(Text(part.Gather(0, 4096)), page);
}

TEST(PartBuffer, RandomWritesMatchAModel) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  SlabPool slabs(8);
  PartBuffer part;
  std::string model(3u << 20, '\0');
  for (int i = 0; i < 400; ++i) {
    const std::size_t size = random() % 10 == 0
                                 ? (256u << 10) + random() % (700u << 10)
                                 : 1 + random() % 5000;
    const std::size_t offset = random() % (model.size() - size);
    const char fill = static_cast<char>('a' + random() % 26);
    if (random() % 40 == 0) {
      part.Truncate(offset);
      std::fill(model.begin() + static_cast<std::ptrdiff_t>(offset),
                model.end(), '\0');
    } else if (size >= (256u << 10)) {
      part.Place(offset, Large(slabs, fill, size), slabs);
      std::memset(model.data() + offset, fill, size);
    } else {
      part.Copy(offset, Bytes(std::string(size, fill)), slabs);
      std::memset(model.data() + offset, fill, size);
    }
    if (i % 20 == 0) {
      ASSERT_EQ(Text(part.Gather(0, model.size())), model);
    }
  }
  ASSERT_EQ(Text(part.Gather(0, model.size())), model);
  ASSERT_EQ(Text(part.Gather(12345, 999'999)),
            model.substr(12345, 999'999 - 12345));
}

}  // namespace
}  // namespace ckptfs::fs
