#include "checkpoint/zip/zip_directory.h"

#include <gtest/gtest.h>

#include <random>

#include "unit/checkpoint/fixture_file.h"

namespace ckptfs {
namespace {

Result<std::vector<ZipEntry>> Parse(const std::string& file) {
  const auto bytes = std::as_bytes(std::span(file));
  CKPTFS_ASSIGN_OR_RETURN(const ZipTail tail, ParseZipTail(bytes, file.size()));
  return ParseZipDirectory(
      bytes.subspan(tail.directory_offset, tail.directory_bytes), tail);
}

std::string Why(const std::string& file) {
  const auto entries = Parse(file);
  return entries.has_value() ? "no error" : entries.error().message();
}

std::string Replaced(std::string text, const std::string& from,
                     const std::string& to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos;) {
    text.replace(at, from.size(), to);
    at += to.size();
  }
  return text;
}

TEST(ZipDirectory, FindsTorchsRecords) {
  const std::string file = FixtureBytes("values.pt");
  const auto entries = Parse(file);
  ASSERT_TRUE(entries.has_value()) << entries.error().ToString();
  ASSERT_EQ(entries->size(), 11u);
  const ZipEntry& pickle = (*entries)[0];
  EXPECT_EQ(pickle.name, "archive/data.pkl");
  EXPECT_FALSE(pickle.deflated);
  const auto payload = ZipPayloadOffset(pickle, std::as_bytes(std::span(file)),
                                        (*entries)[1].header_offset);
  ASSERT_TRUE(payload.has_value()) << payload.error().ToString();
  EXPECT_EQ(*payload, 64u);  // torch aligns
}

TEST(ZipDirectory, Inflates) {
  const std::string file = FixtureBytes("deflated.pt");
  const auto entries = Parse(file);
  ASSERT_TRUE(entries.has_value()) << entries.error().ToString();
  ZipEntry pickle = (*entries)[0];
  ASSERT_TRUE(pickle.deflated);
  const auto bytes = std::as_bytes(std::span(file));
  const auto payload = ZipPayloadOffset(
      pickle, bytes.subspan(pickle.header_offset), file.size());
  ASSERT_TRUE(payload.has_value());
  auto stored = bytes.subspan(*payload, pickle.stored_bytes);
  const auto whole = InflateZipRecord(pickle, stored);
  ASSERT_TRUE(whole.has_value()) << whole.error().ToString();
  EXPECT_EQ(whole->substr(0, 2), "\x80\x02");
  EXPECT_FALSE(InflateZipRecord(pickle, stored.first(10)).has_value());
  EXPECT_FALSE(InflateZipRecord(pickle, {}).has_value());
  // A record that lies about its size, either way.
  --pickle.bytes;
  EXPECT_FALSE(InflateZipRecord(pickle, stored).has_value());
  pickle.bytes = 1ull << 40;
  EXPECT_FALSE(InflateZipRecord(pickle, stored).has_value());
}

TEST(ZipDirectory, RefusesHostileNames) {
  const std::string file = FixtureBytes("values.pt");
  EXPECT_NE(
      Why(Replaced(file, "archive/version", "archive/../sion")).find(".."),
      std::string::npos);
  EXPECT_NE(Why(Replaced(file, "archive/version", "/rchive/version"))
                .find("absolute"),
            std::string::npos);
  EXPECT_NE(Why(Replaced(file, "archive/data/1", "archive/data/0"))
                .find("two records"),
            std::string::npos);
}

TEST(ZipDirectory, RefusesOverlaps) {
  std::string file = FixtureBytes("values.pt");
  // The directory's second entry claims the place of the first.
  const std::size_t entry = file.find("archive/.format_version", 1100) - 46;
  ASSERT_EQ(file.substr(entry, 4), "PK\x01\x02");
  file.replace(entry + 42, 4, std::string(4, '\0'));
  EXPECT_NE(Why(file).find("overlap"), std::string::npos) << Why(file);
}

TEST(ZipDirectory, ABadHeaderIsNotTrusted) {
  const std::string file = FixtureBytes("values.pt");
  const ZipEntry entry = (*Parse(file))[0];
  const auto bytes = std::as_bytes(std::span(file));
  EXPECT_FALSE(ZipPayloadOffset(entry, bytes.subspan(1), 1026).has_value());
  EXPECT_FALSE(ZipPayloadOffset(entry, bytes.first(29), 1026).has_value());
  EXPECT_FALSE(ZipPayloadOffset(entry, bytes, 900).has_value());
}

TEST(ZipDirectory, TruncationAndNoiseNeverCrash) {
  const std::string file = FixtureBytes("values.pt");
  for (std::size_t n = 0; n < file.size(); ++n) {
    ASSERT_FALSE(Parse(file.substr(0, n)).has_value()) << n;
  }
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  for (int round = 0; round < 20000; ++round) {
    std::string damaged = file;
    const std::size_t from = 2100;  // most of the directory
    damaged[from + random() % (file.size() - from)] =
        static_cast<char>(random());
    (void)Parse(damaged);
  }
}

}  // namespace
}  // namespace ckptfs
