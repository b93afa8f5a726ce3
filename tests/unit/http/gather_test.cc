#include "http/gather.h"

#include <gtest/gtest.h>

#include <string>

namespace ckptfs {
namespace {

TEST(GatherCursor, ReadsAcrossSegmentsAndSeeks) {
  const std::string a = "abc";
  const std::string b = "defgh";
  const std::vector<std::span<const std::byte>> segments = {
      std::as_bytes(std::span(a)), std::as_bytes(std::span(b))};
  GatherCursor cursor(segments);
  std::string out(8, '-');
  auto* to = reinterpret_cast<std::byte*>(out.data());
  EXPECT_EQ(cursor.Read(to, 2), 2u);
  EXPECT_EQ(cursor.Read(to + 2, 4), 4u);
  EXPECT_FALSE(cursor.at_end());
  EXPECT_EQ(cursor.Read(to + 6, 100), 2u);
  EXPECT_TRUE(cursor.at_end());
  EXPECT_EQ(out, "abcdefgh");
  EXPECT_EQ(cursor.Read(to, 1), 0u);

  ASSERT_TRUE(cursor.Seek(4));
  EXPECT_EQ(cursor.Read(to, 100), 4u);
  EXPECT_EQ(out.substr(0, 4), "efgh");
  ASSERT_TRUE(cursor.Seek(0));
  EXPECT_EQ(cursor.Read(to, 3), 3u);
  EXPECT_EQ(out.substr(0, 3), "abc");
  EXPECT_TRUE(cursor.Seek(8));
  EXPECT_TRUE(cursor.at_end());
  EXPECT_FALSE(cursor.Seek(9));
}

TEST(GatherCursor, NothingIsAtItsEnd) {
  const std::vector<std::span<const std::byte>> none;
  EXPECT_TRUE(GatherCursor(none).at_end());
}

TEST(ScatterCursor, FillsSegmentsInOrderAndStopsWhenFull) {
  std::string a(2, '-');
  std::string b(3, '-');
  const std::vector<std::span<std::byte>> segments = {
      std::as_writable_bytes(std::span(a)),
      std::as_writable_bytes(std::span(b))};
  ScatterCursor cursor(segments);
  const std::string in = "12345678";
  const auto* from = reinterpret_cast<const std::byte*>(in.data());
  EXPECT_EQ(cursor.Write(from, 1), 1u);
  EXPECT_EQ(cursor.Write(from + 1, 3), 3u);
  EXPECT_EQ(cursor.Write(from + 4, 4), 1u);
  EXPECT_EQ(a + b, "12345");
}

}  // namespace
}  // namespace ckptfs
