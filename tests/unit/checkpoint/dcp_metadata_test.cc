// ParseDcpMetadata and WriteDcpMetadata; files of torch itself are in
// tests/interop/test_dcp.py.
#include <ckptfs/checkpoint/dcp/metadata.h>
#include <gtest/gtest.h>

#include <limits>
#include <span>
#include <string>

#include "checkpoint/dcp/metadata_values.h"
#include "checkpoint/pickle/pickle_writer.h"

namespace ckptfs {
namespace {

class NoStorages final : public PickleStorages {
 public:
  std::string KeyOf(const std::shared_ptr<Storage>&) override { return {}; }
};

Result<DcpMetadata> Parse(const std::string& bytes) {
  return ParseDcpMetadata(std::as_bytes(std::span(bytes)));
}

DcpMetadata Example() {
  DcpMetadata metadata;
  DcpTensorMetadata tensor;
  tensor.properties.dtype = DType::kBFloat16;
  tensor.properties.memory_format = DcpMemoryFormat::kPreserve;
  tensor.size = {4, 6};
  tensor.chunks = {{{0, 0}, {2, 6}}, {{2, 0}, {2, 6}}, {{4, 0}, {0, 6}}};
  metadata.items.emplace_back("model.w", tensor);
  metadata.items.emplace_back("epoch", DcpBytesMetadata());
  metadata.planner_data.emplace();
  (*metadata.planner_data)["model.w"] = {"model", "w"};
  (*metadata.planner_data)["epoch"] = {"epoch"};
  for (std::int64_t i = 0; i < 2; ++i) {
    DcpStorageInfo info;
    info.relative_path = "__" + std::to_string(i) + "_0.distcp";
    info.offset = 100;
    info.length = 2000;
    metadata.storage_data[{"model.w", DcpSizes{2 * i, 0}, i}] = info;
  }
  DcpStorageInfo info;
  info.relative_path = "a/b.distcp";
  info.length = 7;
  info.transform_descriptors = {"stream.zstd/1"};
  metadata.storage_data[{"epoch", {}, {}}] = info;
  metadata.storage_meta.emplace();
  metadata.storage_meta->checkpoint_id = "s3://bucket/run";
  metadata.storage_meta->modules = {"m"};
  metadata.version = "1.0.0";
  return metadata;
}

// A file that the writer would refuse, made of its parts.
std::string Hostile(const std::string& path, const DcpSizes& size,
                    const DcpChunk& chunk, std::int64_t offset,
                    std::int64_t length) {
  Dict tensor;
  tensor.Assign("properties", TensorPropertiesValue({}));
  tensor.Assign("size", SizesValue(size));
  tensor.Assign("chunks", Value(List{{ChunkValue(chunk), ChunkValue(chunk)}}));
  Dict items;
  items.Assign("w", InstanceValue(kDcpMetadataModule, "TensorStorageMetadata",
                                  std::move(tensor)));
  Dict info;
  info.Assign("relative_path", Value(path));
  info.Assign("offset", Value(offset));
  info.Assign("length", Value(length));
  Dict storage;
  storage.Assign(
      IndexValue({"w", chunk.offsets, 0}),
      InstanceValue(kDcpFileSystemModule, "_StorageInfo", std::move(info)));
  Dict root;
  root.Assign("state_dict_metadata", Value(std::move(items)));
  root.Assign("storage_data", Value(std::move(storage)));
  NoStorages storages;
  return *WritePickle(
      InstanceValue(kDcpMetadataModule, "Metadata", std::move(root)), storages);
}

const DcpChunk kEmpty{{0, 0}, {0, 3}};

TEST(DcpMetadataTest, WhatIsWrittenIsRead) {
  const DcpMetadata before = Example();
  const Result<std::string> bytes = WriteDcpMetadata(before);
  ASSERT_TRUE(bytes) << bytes.error().ToString();
  const Result<DcpMetadata> after = Parse(*bytes);
  ASSERT_TRUE(after) << after.error().ToString();
  EXPECT_EQ(after->items, before.items);
  EXPECT_EQ(after->planner_data, before.planner_data);
  EXPECT_EQ(after->storage_data, before.storage_data);
  EXPECT_EQ(after->storage_data.begin()->first.index,
            before.storage_data.begin()->first.index);
  EXPECT_EQ(after->storage_meta->checkpoint_id, "s3://bucket/run");
  EXPECT_EQ(after->storage_meta->modules, before.storage_meta->modules);
  EXPECT_EQ(after->version, "1.0.0");
}

TEST(DcpMetadataTest, OlderFilesHaveNoVersionAndNoTransforms) {
  const Result<DcpMetadata> metadata =
      Parse(Hostile("__0_0.distcp", {0, 3}, kEmpty, 5, 6));
  ASSERT_TRUE(metadata) << metadata.error().ToString();
  EXPECT_FALSE(metadata->version);
  EXPECT_FALSE(metadata->planner_data);
  EXPECT_FALSE(metadata->storage_meta);
  EXPECT_EQ(metadata->storage_data.begin()->second.offset, 5u);
}

TEST(DcpMetadataTest, NoPathLeavesTheFolder) {
  for (const char* path :
       {"/etc/passwd", "../x", "a/../b", "a//b", "", "a/", "./a", ".."}) {
    const Result<DcpMetadata> metadata =
        Parse(Hostile(path, {0, 3}, kEmpty, 0, 1));
    ASSERT_FALSE(metadata) << path;
    EXPECT_EQ(metadata.error().code(), ErrorCode::kInvalidArgument);
    EXPECT_NE(metadata.error().message().find("w: "), std::string::npos);
    EXPECT_NE(metadata.error().message().find(path), std::string::npos);
  }
}

TEST(DcpMetadataTest, ChunksStayInTheirTensorAndApart) {
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
  const std::vector<std::pair<DcpSizes, DcpChunk>> bad = {
      {{4, 4}, {{0, 0}, {5, 4}}},        // too long
      {{4, 4}, {{3, 0}, {2, 4}}},        // over the end
      {{4, 4}, {{-1, 0}, {2, 4}}},       // before the start
      {{4, 4}, {{0, 0}, {-1, 4}}},       // negative
      {{4, 4}, {{0}, {4}}},              // other dimensions
      {{4, 4}, {{0, 0}, {2, 4}}},        // twice the same
      {{-4, 4}, kEmpty},                 // a negative shape
      {{kMax, 4}, kEmpty},               // overflows
      {{kMax / 2, 1}, kEmpty},           // overflows in bytes
      {{4, 4}, {{kMax, 0}, {kMax, 4}}},  // overflows in the sum
      {{}, {{}, {}}},                    // a scalar, twice
  };
  for (const auto& [size, chunk] : bad) {
    const Result<DcpMetadata> metadata = Parse(Hostile("a", size, chunk, 0, 1));
    ASSERT_FALSE(metadata) << size.size();
    EXPECT_EQ(metadata.error().code(), ErrorCode::kInvalidArgument);
    EXPECT_TRUE(metadata.error().message().starts_with("w: "))
        << metadata.error().message();
  }
}

TEST(DcpMetadataTest, OverlapsAreFoundWhateverTheirVolume) {
  DcpMetadata metadata = Example();
  auto& tensor = std::get<DcpTensorMetadata>(metadata.items[0].second);
  tensor.size = {40, 40};
  tensor.chunks = {{{0, 0}, {4, 4}}, {{8, 8}, {4, 4}}, {{3, 3}, {2, 2}}};
  const Result<std::string> bytes = WriteDcpMetadata(metadata);
  ASSERT_FALSE(bytes);
  EXPECT_NE(bytes.error().message().find("overlaps"), std::string::npos);
  tensor.chunks[2].offsets = {4, 3};
  EXPECT_TRUE(WriteDcpMetadata(metadata));
}

TEST(DcpMetadataTest, OffsetsDoNotOverflow) {
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
  for (const auto& [offset, length] :
       {std::pair<std::int64_t, std::int64_t>{kMax, 1}, {-1, 1}, {0, -1}}) {
    EXPECT_FALSE(Parse(Hostile("a", {0, 3}, kEmpty, offset, length)));
  }
}

TEST(DcpMetadataTest, ADamagedFileIsAnErrorWhereverItEnds) {
  const std::string bytes = *WriteDcpMetadata(Example());
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    EXPECT_FALSE(Parse(bytes.substr(0, n))) << n;
  }
}

}  // namespace
}  // namespace ckptfs
