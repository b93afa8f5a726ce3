#include "checkpoint/safetensors/safetensors_header.h"

#include <gtest/gtest.h>

#include <random>

namespace ckptfs {
namespace {

std::span<const std::byte> AsBytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// A file of this JSON and so many bytes behind it.
Result<SafetensorsHeader> Parse(const std::string& json, std::uint64_t data) {
  return ParseSafetensorsHeader(AsBytes(json), 8 + json.size() + data);
}

std::string Why(const std::string& json, std::uint64_t data) {
  const auto header = Parse(json, data);
  return header.has_value() ? "no error" : header.error().message();
}

SafetensorsEntry Entry(std::string name, DType dtype,
                       std::vector<std::int64_t> shape) {
  SafetensorsEntry entry;
  entry.name = std::move(name);
  entry.dtype = dtype;
  entry.shape = std::move(shape);
  return entry;
}

// What safetensors 0.8.0 writes for {"s": torch.tensor(1.0), "e":
// torch.zeros(0, 3), "b": torch.ones(2), "a": torch.ones(2)}.
constexpr char kFourTensors[] =
    "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
    "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]},"
    "\"e\":{\"dtype\":\"F32\",\"shape\":[0,3],\"data_offsets\":[16,16]},"
    "\"s\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[16,20]}}";

TEST(Safetensors, WritesWhatTheReferenceWrites) {
  SafetensorsHeader header;
  header.tensors = {
      Entry("s", DType::kFloat32, {}), Entry("e", DType::kFloat32, {0, 3}),
      Entry("b", DType::kFloat32, {2}), Entry("a", DType::kFloat32, {2})};
  const auto bytes = LayOutSafetensors(header);
  ASSERT_TRUE(bytes.has_value()) << bytes.error().ToString();
  EXPECT_EQ(bytes->size() % 8, 0u);
  EXPECT_TRUE(bytes->substr(8).starts_with(kFourTensors)) << *bytes;
  EXPECT_EQ(header.file_bytes, bytes->size() + 20);
  // And reads it.
  const auto length =
      ParseSafetensorsLength(AsBytes(*bytes).first(8), header.file_bytes);
  ASSERT_TRUE(length.has_value());
  const auto read =
      ParseSafetensorsHeader(AsBytes(*bytes).subspan(8), header.file_bytes);
  ASSERT_TRUE(read.has_value()) << read.error().ToString();
  ASSERT_EQ(read->tensors.size(), 4u);
  EXPECT_EQ(read->tensors[3].name, "s");
  EXPECT_EQ(read->tensors[3].begin, 16u);
}

TEST(Safetensors, NullIsNoMetadata) {
  const std::string json = "{\"__metadata__\":null}";
  const auto read = ParseSafetensorsHeader(AsBytes(json), 8 + json.size());
  ASSERT_TRUE(read.has_value()) << read.error().ToString();
  EXPECT_TRUE(read->metadata.empty());
}

// The reference refuses them, as any trailing characters.
TEST(Safetensors, NulsAreNoPadding) {
  using std::string_literals::operator""s;
  EXPECT_EQ(Why("{}  ", 0), "no error");
  EXPECT_NE(Why("{}\0\0"s, 0).find("byte 2"), std::string::npos);
  EXPECT_NE(Why(kFourTensors + "\0"s, 20).find("makes no sense"),
            std::string::npos);
}

// Escapes as serde_json writes them, and the metadata first (0.8.0).
TEST(Safetensors, EscapesAndMetadata) {
  SafetensorsHeader header;
  header.metadata["a"] = "b\xc3\xa9\"\\\n\x01\x7f/";
  header.tensors = {Entry("t", DType::kUInt8, {1}),
                    Entry("t8", DType::kInt64, {1}),
                    Entry("h", DType::kBFloat16, {1})};
  const auto bytes = LayOutSafetensors(header);
  ASSERT_TRUE(bytes.has_value());
  EXPECT_TRUE(bytes->substr(8).starts_with(
      "{\"__metadata__\":{\"a\":\"b\xc3\xa9\\\"\\\\\\n\\u0001\x7f/\"},"
      "\"t8\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]},"
      "\"h\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[8,10]},"
      "\"t\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[10,11]}}"))
      << *bytes;
}

// torch counts bytes of two elements, safetensors the elements.
TEST(Safetensors, HalfBytes) {
  SafetensorsHeader header;
  header.tensors = {Entry("f", DType::kFloat4E2M1FNX2, {3, 4}),
                    Entry("b", DType::kBool, {1}),
                    Entry("u", DType::kUInt8, {1})};
  const auto bytes = LayOutSafetensors(header);
  ASSERT_TRUE(bytes.has_value());
  EXPECT_TRUE(bytes->substr(8).starts_with(
      "{\"u\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
      "\"f\":{\"dtype\":\"F4\",\"shape\":[3,8],\"data_offsets\":[1,13]},"
      "\"b\":{\"dtype\":\"BOOL\",\"shape\":[1],\"data_offsets\":[13,14]}}"))
      << *bytes;
  const auto read = Parse(bytes->substr(8), 14);
  ASSERT_TRUE(read.has_value()) << read.error().ToString();
  EXPECT_EQ(read->tensors[1].shape, (std::vector<std::int64_t>{3, 4}));
  header.tensors = {Entry("f", DType::kFloat4E2M1FNX2, {})};
  EXPECT_FALSE(LayOutSafetensors(header).has_value());
}

TEST(Safetensors, NothingAtAll) {
  SafetensorsHeader header;
  EXPECT_EQ(*LayOutSafetensors(header),
            std::string("\x08\0\0\0\0\0\0\0{}      ", 16));
  EXPECT_TRUE(Parse("{}      ", 0).has_value());
}

TEST(Safetensors, RefusesWhatIsBroken) {
  EXPECT_NE(Why("", 0).find("begin with {"), std::string::npos);
  EXPECT_NE(Why("[]", 0).find("begin with {"), std::string::npos);
  EXPECT_NE(Why("{\"a\":", 0).find("JSON"), std::string::npos);
  EXPECT_NE(Why("{}{}", 0).find("JSON"), std::string::npos);
  EXPECT_NE(Why("{\"a\":1}", 0).find("\"a\""), std::string::npos);
  const auto one = [](const std::string& dtype, const std::string& shape,
                      const std::string& offsets) {
    return "{\"x\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
           ",\"data_offsets\":" + offsets + "}}";
  };
  EXPECT_EQ(Why(one("F32", "[2]", "[0,8]"), 8), "no error");
  EXPECT_NE(Why(one("F32", "[2]", "[0,8]"), 9).find("end at"),
            std::string::npos);
  EXPECT_NE(Why(one("F32", "[2]", "[0,8]"), 7).find("end at"),
            std::string::npos);
  EXPECT_NE(Why(one("F32", "[2]", "[1,9]"), 9).find("begin at 1"),
            std::string::npos);
  EXPECT_NE(Why(one("F32", "[2]", "[0,4]"), 4).find("do not match"),
            std::string::npos);
  EXPECT_NE(Why(one("F32", "[2]", "[8,0]"), 0).find("do not match"),
            std::string::npos);
  EXPECT_NE(Why(one("F32", "[-2]", "[0,8]"), 8).find("no list of sizes"),
            std::string::npos);
  EXPECT_NE(
      Why(one("F32", "[9223372036854775807,4]", "[0,8]"), 8).find("overflows"),
      std::string::npos);
  EXPECT_NE(Why(one("F32", "[1e3]", "[0,8]"), 8).find("sizes"),
            std::string::npos);
  EXPECT_NE(Why(one("F99", "[2]", "[0,8]"), 8).find("F99"), std::string::npos);
  EXPECT_EQ(Parse(one("F6_E2M3", "[4]", "[0,3]"), 3).error().code(),
            ErrorCode::kUnsupported);
  EXPECT_NE(Why(one("F4", "[3]", "[0,1]"), 1).find("fills no byte"),
            std::string::npos);
  EXPECT_NE(Why(one("F4", "[]", "[0,1]"), 1).find("fills no byte"),
            std::string::npos);
  EXPECT_NE(Why("{\"__metadata__\":{\"a\":1}}", 0).find("not a string"),
            std::string::npos);
  const std::string entry =
      "\"x\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}";
  EXPECT_NE(Why("{" + entry + "," + entry + "}", 0).find("twice"),
            std::string::npos);
  EXPECT_NE(Why("{\"x\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[0],"
                "\"data_offsets\":[0,0]}}",
                0)
                .find("twice"),
            std::string::npos);
  EXPECT_NE(Why("{\"x\":[[[[[]]]]]}", 0).find("\"x\": is not an object"),
            std::string::npos);
  EXPECT_NE(Why("{\"x\":{\"dtype\":\"U8\",\"shape\":[0]}}", 0)
                .find("{dtype, shape, data_offsets}"),
            std::string::npos);
  EXPECT_NE(Why("{\"x\":{\"more\":1}}", 0).find("{dtype, shape, data_off"),
            std::string::npos);
  for (const char* offsets : {"[0]", "[0,0,0]", "[0,\"0\"]", "[0,[0]]",
                              "[0,-1]", "[0,18446744073709551615]"}) {
    EXPECT_NE(Why(one("U8", "[0]", offsets), 0).find("no offsets"),
              std::string::npos)
        << offsets;
  }
  EXPECT_NE(Why("{\"__metadata__\":{},\"__metadata__\":{}}", 0).find("twice"),
            std::string::npos);
  EXPECT_NE(Why("{\"__metadata__\":{\"a\":\"\",\"a\":\"\"}}", 0).find("twice"),
            std::string::npos);
  EXPECT_NE(Why("{\"__metadata__\":[]}", 0).find("not an object"),
            std::string::npos);
}

// Time and memory stay in proportion to the header.
TEST(Safetensors, ManyTensorsAndDimensions) {
  SafetensorsHeader header;
  for (int i = 0; i < 200'000; ++i) {
    header.tensors.push_back(
        Entry("t" + std::to_string(i), DType::kUInt8, {1}));
  }
  const auto bytes = LayOutSafetensors(header);
  ASSERT_TRUE(bytes.has_value());
  const auto read = Parse(bytes->substr(8), 200'000);
  ASSERT_TRUE(read.has_value()) << read.error().ToString();
  EXPECT_EQ(read->tensors.size(), 200'000u);
  std::string shape = "[0";
  for (int i = 0; i < 1'000'000; ++i) shape += ",1";
  EXPECT_NE(Why("{\"x\":{\"dtype\":\"U8\",\"data_offsets\":[0,0],\"shape\":" +
                    shape + "]}}",
                0)
                .find("more dimensions"),
            std::string::npos);
}

TEST(Safetensors, Lengths) {
  EXPECT_FALSE(ParseSafetensorsLength(AsBytes("1234567"), 7).has_value());
  const std::string huge(8, '\xff');
  EXPECT_FALSE(ParseSafetensorsLength(AsBytes(huge), 1ull << 60).has_value());
  const std::string eight("\x08\0\0\0\0\0\0\0", 8);
  EXPECT_EQ(*ParseSafetensorsLength(AsBytes(eight), 16), 8u);
  EXPECT_FALSE(ParseSafetensorsLength(AsBytes(eight), 15).has_value());
}

TEST(Safetensors, RefusesWhatCannotBeWritten) {
  const auto code = [](SafetensorsEntry entry) {
    SafetensorsHeader header;
    header.tensors = {entry, Entry("other", DType::kBool, {1})};
    const auto bytes = LayOutSafetensors(header);
    return bytes.has_value() ? std::optional<ErrorCode>()
                             : bytes.error().code();
  };
  EXPECT_EQ(code(Entry("x", DType::kBool, {1})), std::nullopt);
  EXPECT_EQ(code(Entry("x", DType::kComplex128, {1})), ErrorCode::kUnsupported);
  EXPECT_EQ(code(Entry("other", DType::kBool, {1})),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(code(Entry("__metadata__", DType::kBool, {1})),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(code(Entry("x", DType::kBool, {-1})), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code(Entry("\xff", DType::kBool, {1})),
            ErrorCode::kInvalidArgument);
}

TEST(Safetensors, NoiseNeverCrashes) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  for (int round = 0; round < 20000; ++round) {
    std::string json = kFourTensors;
    for (int n = 1 + static_cast<int>(random() % 3); n > 0; --n) {
      json[random() % json.size()] = static_cast<char>(random());
    }
    (void)Parse(json, 20);
  }
}

}  // namespace
}  // namespace ckptfs
