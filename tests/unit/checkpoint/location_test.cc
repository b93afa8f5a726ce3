#include "checkpoint/engine/location.h"

#include <gtest/gtest.h>

namespace ckptfs {
namespace {

TEST(Location, UrisNameBucketAndKey) {
  const Result<Location> at = ParseLocation("s3://bucket/run/1/last.ckpt");
  ASSERT_TRUE(at);
  EXPECT_EQ(at->kind, Location::Kind::kObject);
  EXPECT_EQ(at->bucket, "bucket");
  EXPECT_EQ(at->key, "run/1/last.ckpt");
  EXPECT_EQ(at->name, "s3://bucket/run/1/last.ckpt");
}

TEST(Location, FoldersMayEndInSlashes) {
  EXPECT_EQ(ParseLocation("s3://bucket/run/")->key, "run");
  EXPECT_EQ(ParseLocation("s3://bucket/run//")->key, "run/");
  EXPECT_EQ(ParseLocation("s3://bucket")->key, "");
  EXPECT_EQ(ParseLocation("s3://bucket/")->key, "");
  EXPECT_EQ(ParseLocation("/ckpt/run/")->path, "/ckpt/run");
  EXPECT_EQ(ParseLocation("/")->path, "/");
}

TEST(Location, KeysAreTakenAsTheyAre) {
  // An object store knows neither `..` nor escapes.
  EXPECT_EQ(ParseLocation("s3://b/a/../b%20c?d#e")->key, "a/../b%20c?d#e");
  EXPECT_EQ(ParseLocation("s3://b//a")->key, "/a");
}

TEST(Location, PlainPathsAndFileUris) {
  EXPECT_EQ(ParseLocation("last.ckpt")->path, "last.ckpt");
  EXPECT_EQ(ParseLocation("file:///ckpt/last.ckpt")->path, "/ckpt/last.ckpt");
  EXPECT_EQ(ParseLocation("/odd/s3:name")->path, "/odd/s3:name");
  EXPECT_EQ(ParseLocation("/odd/gs://name")->path, "/odd/gs://name");
  EXPECT_EQ(ParseLocation("./gs://name")->path, "./gs://name");
  EXPECT_EQ(ParseLocation("file:///a%20b[1]?#*")->path, "/a%20b[1]?#*");
}

TEST(Location, OthersAreRefusedByName) {
  for (const std::string_view path :
       {std::string_view(""), std::string_view("s3://"),
        std::string_view("s3:///key"), std::string_view("gs://bucket/key"),
        std::string_view("file://relative"), std::string_view("a\0b", 3)}) {
    const Result<Location> at = ParseLocation(path);
    ASSERT_FALSE(at) << path;
    EXPECT_EQ(at.error().code(), ErrorCode::kInvalidArgument);
    EXPECT_NE(at.error().message().find("s3://bucket/key"), std::string::npos);
  }
  EXPECT_TRUE(ParseLocation("s3://b/" + std::string(1024, 'k')));
  EXPECT_FALSE(ParseLocation("s3://b/" + std::string(1025, 'k')));
}

TEST(Location, TheRootOfABucketIsNoFile) {
  EXPECT_TRUE(ParseFileLocation("s3://bucket/key"));
  EXPECT_TRUE(ParseFileLocation("/folder/file"));
  for (const char* path : {"s3://bucket", "s3://bucket/", "s3://bucket//"}) {
    const Result<Location> location = ParseFileLocation(path);
    ASSERT_FALSE(location);
    EXPECT_EQ(location.error().code(), ErrorCode::kInvalidArgument);
    EXPECT_NE(location.error().message().find("names a bucket and no object"),
              std::string::npos);
  }
}

TEST(Location, ASlashAtTheEndIsNoFile) {
  for (const char* path : {"s3://bucket/x/", "s3://bucket/x//", "/ckpt/x/", "/",
                           "x/", "file:///x/"}) {
    const Result<Location> location = ParseFileLocation(path);
    ASSERT_FALSE(location) << path;
    EXPECT_EQ(location.error().code(), ErrorCode::kInvalidArgument);
    EXPECT_NE(location.error().message().find("names a folder"),
              std::string::npos);
  }
}

TEST(Location, PathsJoin) {
  EXPECT_EQ(JoinPath("a", "b"), "a/b");
  EXPECT_EQ(JoinPath("s3://bucket/", "b/c"), "s3://bucket/b/c");
  EXPECT_EQ(JoinPath("", "b"), "b");
}

}  // namespace
}  // namespace ckptfs
