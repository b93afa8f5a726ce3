#include "checkpoint/torch_file/torch_file_writer.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "checkpoint/io/file_sink.h"
#include "checkpoint/io/object_sink.h"
#include "checkpoint/io/object_source.h"
#include "checkpoint/torch_file/torch_file_reader.h"
#include "common/executors.h"
#include "store/memory_object_store.h"
#include "unit/checkpoint/await.h"
#include "unit/checkpoint/fixture_file.h"

namespace ckptfs {
namespace {

class TorchFileWrite : public ::testing::Test {
 protected:
  Result<void> Save(const Value& value, std::uint64_t part_bytes) {
    CKPTFS_ASSIGN_OR_RETURN(TorchFileWriter writer,
                            TorchFileWriter::Plan(value, "archive"));
    ObjectSinkOptions options;
    options.part_bytes = part_bytes;
    CKPTFS_ASSIGN_OR_RETURN(
        std::unique_ptr<ObjectSink> sink,
        ObjectSink::Create(bucket, strand, "k", "s3://bucket/k",
                           writer.file_bytes(), options));
    CKPTFS_RETURN_IF_ERROR(Await(strand, writer.WriteTo(*sink, pool)));
    return Await(strand, sink->Commit({}));
  }
  Result<std::unique_ptr<TorchFileReader>> Open(
      TorchFileReadOptions options = {}) {
    return Await(
        strand, TorchFileReader::Open(std::make_unique<ObjectSource>(
                                          bucket, strand, "k", "s3://bucket/k"),
                                      strand, pool, std::move(options), {}));
  }
  // The value of the object, with every storage loaded.
  Result<Value> Load(TorchFileReadOptions options = {}) {
    CKPTFS_ASSIGN_OR_RETURN(std::unique_ptr<TorchFileReader> reader,
                            Open(std::move(options)));
    return LoadFrom(*reader);
  }
  Result<Value> LoadFrom(TorchFileReader& reader) {
    std::vector<TorchFileReader::Want> wants;
    for (const TorchFileReader::Record& record : reader.records()) {
      auto memory = std::make_shared<std::string>(record.storage->bytes, '\0');
      record.storage->memory = std::as_writable_bytes(std::span(*memory));
      record.storage->owner = memory;
      wants.push_back(
          {&record, 0, record.storage->bytes, record.storage->memory});
    }
    CKPTFS_RETURN_IF_ERROR(
        Await(strand, reader.Read(std::move(wants), nullptr, pool, {})));
    return reader.value();
  }
  static std::shared_ptr<Storage> Filled(std::size_t bytes, unsigned seed) {
    auto memory = std::make_shared<std::string>(bytes, '\0');
    for (std::size_t i = 0; i < bytes; ++i) {
      (*memory)[i] = static_cast<char>((i * 31 + i / 251 + seed) & 0xFF);
    }
    auto storage = std::make_shared<Storage>();
    storage->bytes = bytes;
    storage->memory = std::as_writable_bytes(std::span(*memory));
    storage->owner = memory;
    return storage;
  }
  static TensorView Flat(std::shared_ptr<Storage> storage) {
    TensorView tensor;
    tensor.dtype = DType::kUInt8;
    tensor.shape = {static_cast<std::int64_t>(storage->bytes)};
    tensor.strides = {1};
    tensor.storage = std::move(storage);
    return tensor;
  }

  MemoryObjectStore bucket;
  ThreadPool strand{"strand", 1};
  ThreadPool pool{"pool", 2};
};

// What was read from torch's file and written again: the same records around
// another pickle, and the same values.
TEST_F(TorchFileWrite, WritesWhatItReads) {
  bucket.PutBytes("k", FixtureBytes("values.pt"));
  Result<Value> first = Load();
  ASSERT_TRUE(first.has_value()) << first.error().ToString();
  Result<void> saved = Save(*first, 16u << 20);
  ASSERT_TRUE(saved.has_value()) << saved.error().ToString();
  const std::string once = bucket.Snapshot().at("k");
  Result<Value> second = Load();
  ASSERT_TRUE(second.has_value()) << second.error().ToString();
  ASSERT_TRUE(Save(*second, 16u << 20).has_value());
  EXPECT_EQ(bucket.Snapshot().at("k"), once);
  const Dict& state = *second->AsDict()->Find("state_dict")->AsDict();
  EXPECT_EQ(state.Find("w")->AsTensor()->storage,
            state.Find("view")->AsTensor()->storage);
  EXPECT_EQ(*second->AsDict()->Find("b")->AsBytes(),
            (Bytes{std::string("\xff\0a", 3)}));
}

// Records that span parts, end at their borders, and leave the tail to a part
// of its own.
TEST_F(TorchFileWrite, PartsMayEndAnywhere) {
  for (const std::size_t extra : {0u, 1u, 15u, 16u, 700u, 5000u}) {
    SCOPED_TRACE(extra);
    Dict state;
    std::vector<std::shared_ptr<Storage>> storages;
    for (const std::size_t bytes :
         {std::size_t{6u << 20}, std::size_t{0}, std::size_t{100},
          (4u << 20) - 2000 + extra, std::size_t{11u << 20}}) {
      storages.push_back(Filled(bytes, static_cast<unsigned>(bytes)));
      state.Assign("t" + std::to_string(storages.size()),
                   Flat(storages.back()));
    }
    const Value value(std::move(state));
    Result<void> saved = Save(value, 5u << 20);
    ASSERT_TRUE(saved.has_value()) << saved.error().ToString();
    const Result<Value> loaded = Load();
    ASSERT_TRUE(loaded.has_value()) << loaded.error().ToString();
    for (std::size_t i = 0; i < storages.size(); ++i) {
      const TensorView& tensor =
          *loaded->AsDict()->Find("t" + std::to_string(i + 1))->AsTensor();
      ASSERT_EQ(tensor.storage->bytes, storages[i]->bytes);
      EXPECT_TRUE(std::equal(tensor.storage->memory.begin(),
                             tensor.storage->memory.end(),
                             storages[i]->memory.begin()));
    }
    EXPECT_TRUE(bucket.OpenUploads().empty());
  }
}

TEST_F(TorchFileWrite, PlainFilesAppearWholeOrNotAtAll) {
  namespace fs = std::filesystem;
  const fs::path folder =
      fs::path(::testing::TempDir()) / "ckptfs-torch-file-write";
  fs::remove_all(folder);
  fs::create_directories(folder);
  const std::string path = folder / "x.pt";
  Dict state;
  state.Assign("t", Flat(Filled(9u << 20, 1)));
  Result<TorchFileWriter> writer = TorchFileWriter::Plan(state, "x");
  ASSERT_TRUE(writer.has_value());
  const auto sink = [&] {
    return Await(strand, FileSink::Create(path, writer->file_bytes(), pool));
  };
  {
    auto abandoned = sink();
    ASSERT_TRUE(abandoned.has_value()) << abandoned.error().ToString();
    ASSERT_TRUE(Await(strand, writer->WriteTo(**abandoned, pool)).has_value());
  }
  EXPECT_TRUE(fs::is_empty(folder));
  auto file = sink();
  ASSERT_TRUE(file.has_value());
  ASSERT_TRUE(Await(strand, writer->WriteTo(**file, pool)).has_value());
  ASSERT_TRUE(Await(strand, (*file)->Commit({})).has_value());
  EXPECT_EQ(fs::file_size(path), writer->file_bytes());
  auto second = sink();
  ASSERT_TRUE(Await(strand, writer->WriteTo(**second, pool)).has_value());
  WriteCondition absent;
  absent.if_none_match = true;
  EXPECT_EQ(Await(strand, (*second)->Commit(absent)).error().code(),
            ErrorCode::kPreconditionFailed);
  second->reset();
  EXPECT_EQ(std::distance(fs::directory_iterator(folder), {}), 1);
  fs::remove_all(folder);
}

TEST_F(TorchFileWrite, RefusesWhatTorchCouldNotLoad) {
  const auto why = [](const Value& value) {
    const auto writer = TorchFileWriter::Plan(value, "archive");
    return writer.has_value() ? "no error" : writer.error().message();
  };
  TensorView bytes = Flat(Filled(8, 1));
  TensorView floats = bytes;
  floats.dtype = DType::kFloat32;
  floats.shape = {2};
  EXPECT_NE(why(List{{Value(bytes), Value(floats)}}).find("clone"),
            std::string::npos);
  TensorView outside = bytes;
  outside.offset = 1;
  EXPECT_NE(why(outside).find("lies behind"), std::string::npos);
  TensorView absent = bytes;
  absent.storage = std::make_shared<Storage>();
  absent.storage->bytes = 8;
  EXPECT_NE(why(absent).find("not loaded"), std::string::npos);
  Value loop = List();
  loop.AsList()->items.push_back(loop);
  EXPECT_NE(why(loop).find("contains itself"), std::string::npos);
  loop.AsList()->items.clear();
}

// [S-62]
TEST_F(TorchFileWrite, AnObjectThatIsReplacedMeanwhileIsStale) {
  Dict state;
  TensorView tensor;
  tensor.storage = Filled(2 * OpenedFile::kHeadBytes, 1);
  tensor.shape = {static_cast<std::int64_t>(tensor.storage->bytes / 4)};
  tensor.strides = {1};
  state.Assign("w", std::move(tensor));
  const Value value(std::move(state));
  ASSERT_TRUE(Save(value, 8 << 20).has_value());
  const auto reader = Open();
  ASSERT_TRUE(reader.has_value());
  ASSERT_TRUE(Save(value, 8 << 20).has_value());
  const Result<Value> loaded = LoadFrom(**reader);
  ASSERT_FALSE(loaded.has_value());
  EXPECT_EQ(loaded.error().code(), ErrorCode::kStale);
}

}  // namespace
}  // namespace ckptfs
