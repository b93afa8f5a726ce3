// The small parsers and names of the command line.
#include <gtest/gtest.h>

#include "cli/bucket_uri.h"
#include "cli/byte_size.h"
#include "cli/exit_code.h"
#include "cli/log_file.h"
#include "transfer/part_plan.h"

namespace ckptfs::cli {
namespace {

TEST(BucketUri, Forms) {
  const struct {
    const char* text;
    const char* bucket;
    const char* prefix;
  } kCases[] = {
      {"s3://b", "b", ""},         {"s3://b/", "b", ""},
      {"s3://b/p", "b", "p/"},     {"s3://b/p/", "b", "p/"},
      {"s3://b/p/q", "b", "p/q/"}, {"s3://b/..p", "b", "..p/"},
      {"s3://b/p q", "b", "p q/"},
  };
  for (const auto& c : kCases) {
    const Result<BucketUri> uri = ParseBucketUri(c.text);
    ASSERT_TRUE(uri.has_value()) << c.text;
    EXPECT_EQ(uri->bucket, c.bucket);
    EXPECT_EQ(uri->prefix, c.prefix);
  }
}

TEST(BucketUri, WhatNoPathCanName) {
  for (const char* text :
       {"", "b", "s3:/b", "s3://", "s3:///p", "s3://b//", "s3://b//p",
        "s3://b/p//q", "s3://b/.", "s3://b/p/../q", "S3://b"}) {
    const Result<BucketUri> uri = ParseBucketUri(text);
    ASSERT_FALSE(uri.has_value()) << text;
    EXPECT_EQ(uri.error().code(), ErrorCode::kInvalidArgument);
  }
  EXPECT_FALSE(ParseBucketUri("s3://b/" + std::string(901, 'p')).has_value());
}

TEST(ByteSize, Forms) {
  EXPECT_EQ(ParseByteSize("0").value(), 0u);
  EXPECT_EQ(ParseByteSize("8388608").value(), 8388608u);
  EXPECT_EQ(ParseByteSize("1KiB").value(), 1024u);
  EXPECT_EQ(ParseByteSize("1M").value(), 1048576u);
  EXPECT_EQ(ParseByteSize("3GiB").value(), 3ull << 30);
  EXPECT_EQ(ParseByteSize("1TiB").value(), 1ull << 40);
  for (const char* text : {"", "MiB", "-1", "1.5GiB", "1 GiB", "1XB", "1MB",
                           "99999999999999999999", "18446744073709551615K"}) {
    EXPECT_FALSE(ParseByteSize(text).has_value()) << text;
  }
}

TEST(LogFile, NamesAsSystemdEscapesPaths) {
  EXPECT_EQ(EscapeMountPoint("/mnt/ckpt"), "mnt-ckpt");
  EXPECT_EQ(EscapeMountPoint("/mnt/my-ckpt"), "mnt-my\\x2dckpt");
  EXPECT_EQ(EscapeMountPoint("/a b/.c"), "a\\x20b-.c");
  EXPECT_EQ(EscapeMountPoint("/.c"), "\\x2ec");
  EXPECT_EQ(EscapeMountPoint("/"), "-");
}

// Each kind of failure that a person mends differently has a code of its own.
TEST(ExitCode, OfStoreErrors) {
  const auto code = [](ErrorCode c, int status = 0) {
    Error::Detail detail;
    detail.http_status = status;
    return ExitCodeForStoreError(Error(c, detail));
  };
  EXPECT_EQ(code(ErrorCode::kUnauthenticated), ExitCode::kCredentials);
  EXPECT_EQ(code(ErrorCode::kPermissionDenied, 403), ExitCode::kCredentials);
  EXPECT_EQ(code(ErrorCode::kNotFound, 404), ExitCode::kBucket);
  EXPECT_EQ(code(ErrorCode::kInvalidArgument, 301), ExitCode::kBucket);
  EXPECT_EQ(code(ErrorCode::kInvalidArgument), ExitCode::kUsage);
  EXPECT_EQ(code(ErrorCode::kUnavailable), ExitCode::kEndpoint);
  EXPECT_EQ(code(ErrorCode::kDeadlineExceeded), ExitCode::kEndpoint);
  EXPECT_EQ(code(ErrorCode::kInternal), ExitCode::kOther);
}

TEST(ExitCode, OfFileErrors) {
  const auto code = [](ErrorCode c, int status = 0, const char* s3 = "") {
    Error::Detail detail;
    detail.http_status = status;
    detail.s3_code = s3;
    return ExitCodeForFileError(Error(c, detail));
  };
  EXPECT_EQ(code(ErrorCode::kInvalidArgument), ExitCode::kDamaged);
  EXPECT_EQ(code(ErrorCode::kUnsupported), ExitCode::kDamaged);
  EXPECT_EQ(code(ErrorCode::kNotFound), ExitCode::kOther);
  EXPECT_EQ(code(ErrorCode::kNotFound, 404, "NoSuchKey"), ExitCode::kOther);
  EXPECT_EQ(code(ErrorCode::kNotFound, 404, "NoSuchBucket"), ExitCode::kBucket);
  EXPECT_EQ(code(ErrorCode::kInvalidArgument, 301), ExitCode::kBucket);
  EXPECT_EQ(code(ErrorCode::kPermissionDenied, 403), ExitCode::kCredentials);
  EXPECT_EQ(code(ErrorCode::kPermissionDenied), ExitCode::kCredentials);
  EXPECT_EQ(code(ErrorCode::kUnavailable), ExitCode::kEndpoint);
}

// What SEMANTICS.md, the README and the manual say of the largest file. [S-44]
TEST(Limits, LargestFile) {
  const PartPlan ladder = PartPlan::Ladder(8ull << 20, 64ull << 20);
  EXPECT_EQ(ladder.MaxBytes() >> 30, 492u);
  EXPECT_EQ(PartPlan::Fixed(16ull << 20).value().MaxBytes(),
            10'000 * (16ull << 20));
}

}  // namespace
}  // namespace ckptfs::cli
