#include "fs/tree/object_attributes.h"

#include <gtest/gtest.h>

#include "fs/tree/name_rules.h"

namespace ckptfs::fs {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

// [S-31]
TEST(ObjectAttributes, RoundTrip) {
  StoredAttributes in;
  in.mode = 0100640;
  in.uid = 1000;
  in.gid = 100;
  in.mtime = WallTime(nanoseconds(1'700'000'000'123'456'789));
  UserMetadata metadata{{"other", "stays"}};
  EncodeAttributes(in, metadata);
  EXPECT_EQ(metadata.at("file-permissions"), "0100640");
  EXPECT_EQ(metadata.at("file-owner"), "1000");
  EXPECT_EQ(metadata.at("file-mtime"), "1700000000123456789ns");
  EXPECT_EQ(metadata.at("other"), "stays");
  const StoredAttributes out = DecodeAttributes(metadata);
  EXPECT_EQ(out.mode, in.mode);
  EXPECT_EQ(out.uid, in.uid);
  EXPECT_EQ(out.gid, in.gid);
  EXPECT_EQ(out.mtime, in.mtime);
  EXPECT_FALSE(out.atime.has_value());
}

TEST(ObjectAttributes, ATimeWithoutUnitIsMilliseconds) {
  EXPECT_EQ(DecodeAttributes({{"file-mtime", "1700000000123"}}).mtime,
            WallTime(milliseconds(1'700'000'000'123)));
}

TEST(ObjectAttributes, NonsenseIsLeftOut) {
  const StoredAttributes out =
      DecodeAttributes({{"file-permissions", "rw"},
                        {"file-owner", "-1"},
                        {"file-group", "12x"},
                        {"file-mtime", "ns"},
                        {"file-atime", "9223372036854775807"}});
  EXPECT_FALSE(out.mode || out.uid || out.gid || out.mtime || out.atime);
}

TEST(NameRules, VisibleNames) {
  EXPECT_TRUE(IsVisibleName("a"));
  EXPECT_TRUE(IsVisibleName(std::string(255, 'x')));
  EXPECT_TRUE(IsVisibleName("..."));
  EXPECT_FALSE(IsVisibleName(""));
  EXPECT_FALSE(IsVisibleName("."));
  EXPECT_FALSE(IsVisibleName(".."));
  EXPECT_FALSE(IsVisibleName(std::string(256, 'x')));
  EXPECT_FALSE(IsVisibleName(std::string("a\0b", 3)));
  EXPECT_EQ(CheckName(std::string(256, 'x')).error().code(),
            ErrorCode::kNameTooLong);
}

TEST(NameRules, HeldNames) {
  const std::vector<std::string> patterns = {".tmp*", "*.tmp", "tmp*",
                                             "*.partial"};
  EXPECT_TRUE(IsHeldName(".tmpAb3x", patterns));
  EXPECT_TRUE(IsHeldName(".metadata.tmp", patterns));
  EXPECT_TRUE(IsHeldName("tmp-checkpoint", patterns));
  EXPECT_FALSE(IsHeldName("model.pt", patterns));
}

}  // namespace
}  // namespace ckptfs::fs
