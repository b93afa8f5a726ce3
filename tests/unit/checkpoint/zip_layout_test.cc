#include "checkpoint/zip/zip_layout.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include "checkpoint/zip/zip_directory.h"
#include "unit/checkpoint/fixture_file.h"

namespace ckptfs {
namespace {

std::uint32_t Crc(const std::string& bytes) {
  return static_cast<std::uint32_t>(
      crc32(0, reinterpret_cast<const Bytef*>(bytes.data()),
            static_cast<uInt>(bytes.size())));
}

std::string Hex(const std::string& bytes) {
  std::string out;
  for (const unsigned char c : bytes) {
    char text[3];
    std::snprintf(text, sizeof text, "%02x", c);
    out += text;
  }
  return out;
}

// Everything around torch's own records, byte for byte.
TEST(ZipLayout, MakesTorchsFileOfTorchsRecords) {
  for (const char* name : {"values.pt", "unsafe.pt"}) {
    SCOPED_TRACE(name);
    const std::string file = FixtureBytes(name);
    const auto bytes = std::as_bytes(std::span(file));
    const auto tail = ParseZipTail(bytes, file.size());
    ASSERT_TRUE(tail.has_value());
    const auto entries = ParseZipDirectory(
        bytes.subspan(tail->directory_offset, tail->directory_bytes), *tail);
    ASSERT_TRUE(entries.has_value());
    const std::string archive =
        entries->front().name.substr(0, entries->front().name.find('/'));
    ZipLayout layout(archive);
    std::string made;
    std::vector<std::string> names;
    std::vector<std::uint32_t> crcs;
    std::vector<std::uint64_t> sizes;
    std::string id;
    for (std::size_t i = 0; i < entries->size(); ++i) {
      const ZipEntry& entry = (*entries)[i];
      const auto payload = ZipPayloadOffset(
          entry, bytes.subspan(entry.header_offset), file.size());
      ASSERT_TRUE(payload.has_value());
      const std::string record = file.substr(*payload, entry.bytes);
      const std::string inner = entry.name.substr(archive.size() + 1);
      ASSERT_TRUE(layout.Add(inner, entry.bytes).has_value());
      made += layout.records()[i].header;
      EXPECT_EQ(made.size(), layout.records()[i].payload_offset);
      if (inner == ".data/serialization_id") {
        id = record;
      } else {
        names.push_back(inner);
        sizes.push_back(entry.bytes);
      }
      crcs.push_back(Crc(record));
      made += record + layout.Descriptor(i, crcs.back());
    }
    EXPECT_EQ(made.size(), layout.tail_offset());
    const std::string end = layout.Tail(crcs);
    EXPECT_EQ(end.size(), layout.tail_bytes());
    EXPECT_EQ(made + end, file);
    EXPECT_EQ(ZipSerializationId(names, crcs, sizes), id);
  }
}

// The bytes are those of torch 2.13.0's file of {"a": torch.zeros(1 << 32,
// dtype=torch.uint8), "b": torch.ones(3)}, saved as big.pt.
TEST(ZipLayout, SixtyFourBitSizesAndOffsets) {
  ZipLayout layout("big");
  ASSERT_TRUE(layout.Add("data.pkl", 249).has_value());
  ASSERT_TRUE(layout.Add(".format_version", 1).has_value());
  ASSERT_TRUE(layout.Add(".storage_alignment", 2).has_value());
  ASSERT_TRUE(layout.Add("byteorder", 6).has_value());
  ASSERT_TRUE(layout.Add("data/0", 1ull << 32).has_value());
  ASSERT_TRUE(layout.Add("data/1", 12).has_value());
  ASSERT_TRUE(layout.Add("version", 2).has_value());
  ASSERT_TRUE(layout.Add(".data/serialization_id", 40).has_value());
  EXPECT_EQ(layout.records()[4].header_offset, 662u);
  EXPECT_EQ(Hex(layout.records()[4].header.substr(40, 24)),
            "0100100000000000010000000000000000000000"
            "46422a00");
  EXPECT_EQ(layout.records()[5].header_offset, 4294968088u);
  EXPECT_EQ(Hex(layout.records()[5].header.substr(40, 16)),
            "0100080018030000"
            "0100000046423000");
  EXPECT_EQ(Hex(layout.Descriptor(4, 0xd202ef8d)),
            "504b07088def02d200000000010000000000000001000000");
  EXPECT_EQ(Hex(layout.Descriptor(5, 0xdc7c4e94)),
            "504b0708944e7cdc0c000000000000000c00000000000000");
  EXPECT_EQ(layout.tail_offset(), 0x1000004c0u);
  const std::string tail = layout.Tail(std::vector<std::uint32_t>{
      0xb2c80a1c, 0x83dcefb7, 0xe971773f, 0x19e33d85, 0xd202ef8d, 0xdc7c4e94,
      0x55679ed1, 0xff66aace});
  EXPECT_EQ(tail.size(), 645u);
  EXPECT_EQ(layout.tail_offset() + tail.size(), 4294969157u);
  const std::string hex = Hex(tail);
  EXPECT_NE(
      hex.find("8def02d2ffffffffffffffff0a00140000000000000000000000960200"
               "006269672f646174612f3001001000000000000100000000000000"
               "01000000"),
      std::string::npos);
  EXPECT_NE(hex.find("0a000c0000000000000000000000ffffffff6269672f646174612f31"
                     "010008001803000001000000"),
            std::string::npos);
  EXPECT_TRUE(hex.ends_with(
      "504b06062c000000000000001e032d000000000000000000080000000000000008000000"
      "000000002302000000000000c004000001000000504b060700000000e306000001000000"
      "01000000504b0506000000000800080023020000ffffffff0000"))
      << hex;
}

TEST(ZipLayout, RefusesNamesThatCannotBe) {
  ZipLayout layout("a");
  EXPECT_FALSE(layout.Add("", 1).has_value());
  EXPECT_FALSE(layout.Add(std::string(70000, 'x'), 1).has_value());
  EXPECT_TRUE(layout.Add("x", 1).has_value());
  EXPECT_FALSE(layout.Add("x", 1).has_value());
}

TEST(ZipLayout, ArchiveNames) {
  EXPECT_EQ(ZipArchiveName("/ckpt/step.10.pt"), "step.10");
  EXPECT_EQ(ZipArchiveName("last"), "last");
  EXPECT_EQ(ZipArchiveName("dir/.pt"), "archive");
  EXPECT_EQ(ZipArchiveName(""), "archive");
  // As torch.save 2.13 calls them.
  EXPECT_EQ(ZipArchiveName("a\\b.pt"), "b");
  EXPECT_EQ(ZipArchiveName("\xc3\xa9/x.pt"), "archive");
  EXPECT_EQ(ZipArchiveName("..pt"), ".");
}

}  // namespace
}  // namespace ckptfs
