#include "s3server/byte_range.h"

#include <gtest/gtest.h>

namespace ckptfs::s3server {
namespace {

using Kind = RangeAnswer::Kind;

void ExpectRange(const char* header, std::uint64_t size, std::uint64_t first,
                 std::uint64_t length) {
  const RangeAnswer answer = ParseRange(header, size);
  ASSERT_EQ(answer.kind, Kind::kRange) << header;
  EXPECT_EQ(answer.range.first, first) << header;
  EXPECT_EQ(answer.range.length, length) << header;
}

TEST(ByteRangeTest, ServesRanges) {
  ExpectRange("bytes=0-0", 10, 0, 1);
  ExpectRange("bytes=3-5", 10, 3, 3);
  ExpectRange("bytes=3-", 10, 3, 7);
  ExpectRange("bytes=3-99", 10, 3, 7);
  ExpectRange("bytes=-4", 10, 6, 4);
  ExpectRange("bytes=-40", 10, 0, 10);
  ExpectRange("bytes=9-9", 10, 9, 1);
}

TEST(ByteRangeTest, RefusesWhatIsBehindTheEnd) {
  EXPECT_EQ(ParseRange("bytes=10-", 10).kind, Kind::kUnsatisfiable);
  EXPECT_EQ(ParseRange("bytes=10-12", 10).kind, Kind::kUnsatisfiable);
  EXPECT_EQ(ParseRange("bytes=-0", 10).kind, Kind::kUnsatisfiable);
  EXPECT_EQ(ParseRange("bytes=0-", 0).kind, Kind::kUnsatisfiable);
  EXPECT_EQ(ParseRange("bytes=-1", 0).kind, Kind::kUnsatisfiable);
}

TEST(ByteRangeTest, IgnoresWhatIsNoSingleRange) {
  for (const char* header : {"", "bytes=", "bytes=-", "bytes=a-b", "bytes=5-3",
                             "items=0-1", "bytes=0-1,4-5", "bytes=1"}) {
    EXPECT_EQ(ParseRange(header, 10).kind, Kind::kWhole) << header;
  }
}

TEST(ByteRangeTest, CopyRangesAreExact) {
  const auto range = ParseCopyRange("bytes=2-9", 10);
  ASSERT_TRUE(range);
  EXPECT_EQ(range->first, 2u);
  EXPECT_EQ(range->length, 8u);
  for (const char* header : {"bytes=2-10", "bytes=2-", "bytes=-2", "bytes=5-4",
                             "2-9", "bytes=x-y"}) {
    EXPECT_FALSE(ParseCopyRange(header, 10)) << header;
  }
}

}  // namespace
}  // namespace ckptfs::s3server
