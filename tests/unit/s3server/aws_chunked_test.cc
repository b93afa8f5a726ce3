#include "s3server/aws_chunked.h"

#include <gtest/gtest.h>

namespace ckptfs::s3server {
namespace {

TEST(AwsChunkedTest, JoinsChunksAndDropsTrailers) {
  const auto decoded = DecodeAwsChunked(
      Content::FromString("3\r\nabc\r\nB\r\ndefghijklmn\r\n0\r\nx-amz-checksum-"
                          "crc32:AAAA\r\n\r\n"));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->ToString(), "abcdefghijklmn");
}

TEST(AwsChunkedTest, EmptyBody) {
  const auto decoded = DecodeAwsChunked(Content::FromString("0\r\n\r\n"));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->size(), 0u);
}

TEST(AwsChunkedTest, RefusesWhatIsCutOrMalformed) {
  for (const char* body : {"", "3\r\nab", "3\r\nabc\r\n", "zz\r\nabc\r\n0\r\n",
                           "3\r\nabcd\r\n0\r\n\r\n", "ffffffffffffffff\r\nx"}) {
    const auto decoded = DecodeAwsChunked(Content::FromString(body));
    ASSERT_FALSE(decoded) << body;
    EXPECT_EQ(decoded.error().code, "IncompleteBody");
  }
}

}  // namespace
}  // namespace ckptfs::s3server
