#include "s3server/content.h"

#include <gtest/gtest.h>

#include <cstring>

#include "s3server/digest.h"
#include "s3server/pattern.h"

namespace ckptfs::s3server {
namespace {

TEST(PatternTest, WordsAreAsDocumented) {
  EXPECT_EQ(PatternWord(0), 0u);
  EXPECT_EQ(PatternWord(8), 8 * 0x9E3779B97F4A7C15ULL);
  EXPECT_EQ(PatternWord(4096), 4096u);
  EXPECT_EQ(PatternWord(5 * kPatternBlockBytes + 8), PatternWord(8));
  EXPECT_EQ(PatternWord(5 * kPatternBlockBytes + 4096),
            5 * kPatternBlockBytes + 4096);
}

TEST(PatternTest, BlockServesTheSameBytesAsFill) {
  PatternBlock block;
  const std::uint64_t offsets[] = {
      0, 7, 4093, kPatternBlockBytes - 5, 9 * kPatternBlockBytes + 12345, 3};
  for (const std::uint64_t offset : offsets) {
    const PatternBlock::Bytes bytes = block.At(offset);
    ASSERT_EQ(bytes.size, kPatternBlockBytes - offset % kPatternBlockBytes);
    std::string expected(bytes.size, '\0');
    FillPattern(offset, expected.data(), expected.size());
    EXPECT_EQ(std::memcmp(bytes.data, expected.data(), bytes.size), 0)
        << "at " << offset;
  }
}

Content Joined() {
  Content content = Content::FromString("abc");
  content.Append(Content::FromString("defgh"));
  content.Append(Content::FromString("ij"));
  return content;
}

TEST(ContentTest, SlicesAcrossPieces) {
  const Content content = Joined();
  const std::string all = "abcdefghij";
  ASSERT_EQ(content.size(), all.size());
  for (std::size_t first = 0; first <= all.size(); ++first) {
    for (std::size_t length = 0; first + length <= all.size(); ++length) {
      const Content slice = content.Slice(first, length);
      EXPECT_EQ(slice.size(), length);
      EXPECT_EQ(slice.ToString(), all.substr(first, length));
    }
  }
}

TEST(ContentTest, SlicesShareTheBytes) {
  const Content content = Joined();
  EXPECT_EQ(content.Slice(1, 1).pieces()[0].buffer, content.pieces()[0].buffer);
}

TEST(ContentTest, SliceOfThePatternKeepsItsPlace) {
  const Content content = Content::Pattern(0, 3 * kPatternBlockBytes);
  std::string expected(kPatternBlockBytes + 10, '\0');
  FillPattern(kPatternBlockBytes - 5, expected.data(), expected.size());
  EXPECT_EQ(content.Slice(kPatternBlockBytes - 5, expected.size()).ToString(),
            expected);
}

TEST(ContentTest, AsPatternStartsAtZero) {
  Content content = Content::Pattern(77, 10);
  content.Append(Content::FromString("xyz"));
  std::string expected(13, '\0');
  FillPattern(0, expected.data(), expected.size());
  EXPECT_EQ(content.AsPattern().ToString(), expected);
}

TEST(ContentTest, Md5OfPiecesIsThatOfTheWhole) {
  EXPECT_EQ(Hex(Md5(Joined())), Hex(Md5("abcdefghij")));
  EXPECT_EQ(Hex(Md5("")), "d41d8cd98f00b204e9800998ecf8427e");
}

TEST(BufferPoolTest, ServesAFreedBufferAgain) {
  auto pool = std::make_shared<BufferPool>(8 << 20);
  const char* first;
  {
    const Buffer buffer(pool, (2 << 20) + 1);
    first = buffer.data();
  }
  const Buffer again(pool, 3 << 20);  // the same when rounded up
  EXPECT_EQ(again.data(), first);
}

TEST(BufferPoolTest, KeepsNoMoreThanItsLimit) {
  auto pool = std::make_shared<BufferPool>(1 << 20);
  {
    const Buffer kept(pool, 1 << 20);
    Buffer unmapped(pool, 1 << 20);
    std::memset(unmapped.data(), 1, unmapped.size());
  }
  Buffer one(pool, 1 << 20);
  Buffer two(pool, 1 << 20);
  EXPECT_NE(one.data(), two.data());
  std::memset(one.data(), 1, one.size());
  std::memset(two.data(), 2, two.size());
  EXPECT_EQ(one.data()[one.size() - 1], 1);
}

}  // namespace
}  // namespace ckptfs::s3server
