#include <ckptfs/checkpoint/dcp/prefix_strategy.h>
#include <gtest/gtest.h>

namespace ckptfs {
namespace {

TEST(DcpPrefixStrategyTest, NamesAreThoseOfS3torchconnector) {
  EXPECT_EQ(DefaultDcpPrefixes()->PrefixOf(3), "__3_");
  DcpNumericPrefixOptions options;
  options.prefix_count = 8;
  EXPECT_EQ((*BinaryDcpPrefixes(options))->PrefixOf(6), "0110000000/__6_");
  EXPECT_EQ((*BinaryDcpPrefixes(options))->PrefixOf(9), "1000000000/__9_");
  options.min_prefix_length = 1;
  options.epoch = 4;
  EXPECT_EQ((*BinaryDcpPrefixes(options))->PrefixOf(1), "100/epoch_4/__1_");
  options.prefix_count = 300;
  EXPECT_EQ((*HexDcpPrefixes(options))->PrefixOf(0x12b), "b21/epoch_4/__299_");
  options.prefix_count = 1;
  options.epoch.reset();
  EXPECT_EQ((*HexDcpPrefixes(options))->PrefixOf(7), "0/__7_");
  const auto rounds = RoundRobinDcpPrefixes({"a/b", "c"}, 2);
  ASSERT_TRUE(rounds);
  EXPECT_EQ((*rounds)->PrefixOf(2), "a/b/epoch_2/__2_");
  EXPECT_EQ((*rounds)->PrefixOf(3), "c/epoch_2/__3_");
}

TEST(DcpPrefixStrategyTest, WhatCannotBeIsRefused) {
  DcpNumericPrefixOptions options;
  options.prefix_count = 0;
  EXPECT_FALSE(BinaryDcpPrefixes(options));
  options.prefix_count = 1;
  options.min_prefix_length = 0;
  EXPECT_FALSE(HexDcpPrefixes(options));
  EXPECT_FALSE(RoundRobinDcpPrefixes({}));
  for (const char* prefix : {"", "/a", "a/../b", "a//b"}) {
    EXPECT_FALSE(RoundRobinDcpPrefixes({prefix})) << prefix;
  }
}

}  // namespace
}  // namespace ckptfs
