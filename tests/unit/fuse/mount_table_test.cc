#include "fuse/mount_table.h"

#include <gtest/gtest.h>

namespace ckptfs::fuse {
namespace {

constexpr char kTable[] =
    "22 1 254:0 / / rw,relatime shared:1 master:2 - ext4 /dev/vda rw\n"
    "30 22 0:40 / /mnt/a\\040b rw - fuse.ckptfs s3://bucket/x\\040y rw\n"
    "31 22 0:41 / /mnt/top rw - tmpfs tmpfs rw\n"
    "32 31 0:42 / /mnt/top rw,nosuid - fuse.ckptfs s3://bucket rw\n"
    "33 22 0:43 / /mnt/mine rw - fuse.ckptfs s3://b,user_id=7 "
    "rw,user_id=1000,group_id=9,default_permissions\n"
    "34 22 0:44 / /mnt/odd rw - fuse.ckptfs s3://b rw,user_id=1x\n";

TEST(MountTable, FindsByExactPath) {
  const auto root = FindMountIn(kTable, "/");
  ASSERT_TRUE(root.has_value());
  EXPECT_EQ(root->device, "254:0");
  EXPECT_EQ(root->type, "ext4");
  EXPECT_FALSE(FindMountIn(kTable, "/mnt").has_value());
  EXPECT_FALSE(FindMountIn(kTable, "/mnt/top/").has_value());
  EXPECT_FALSE(FindMountIn("", "/").has_value());
}

TEST(MountTable, EscapesAreUndone) {
  const auto mount = FindMountIn(kTable, "/mnt/a b");
  ASSERT_TRUE(mount.has_value());
  EXPECT_EQ(mount->source, "s3://bucket/x y");
}

TEST(MountTable, TheTopmostMountWins) {
  const auto mount = FindMountIn(kTable, "/mnt/top");
  ASSERT_TRUE(mount.has_value());
  EXPECT_EQ(mount->device, "0:42");
  EXPECT_EQ(mount->type, "fuse.ckptfs");
}

TEST(MountTable, AFuseMountHasAnOwner) {
  EXPECT_EQ(FindMountIn(kTable, "/mnt/mine")->user_id, 1000u);
  EXPECT_FALSE(FindMountIn(kTable, "/mnt/odd")->user_id.has_value());
  EXPECT_FALSE(FindMountIn(kTable, "/mnt/top")->user_id.has_value());
}

TEST(MountTable, TheMachineHasARoot) {
  EXPECT_TRUE(FindMount("/proc").has_value());
}

}  // namespace
}  // namespace ckptfs::fuse
