#include "checkpoint/torch_file/torch_file_reader.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "checkpoint/io/file_source.h"
#include "checkpoint/io/object_source.h"
#include "checkpoint/torch_file/torch_pickle.h"
#include "common/executors.h"
#include "store/memory_object_store.h"
#include "support/fault_object_store.h"
#include "unit/checkpoint/await.h"
#include "unit/checkpoint/fixture_file.h"

namespace ckptfs {
namespace {

using Reader = std::unique_ptr<TorchFileReader>;

class TorchFile : public ::testing::Test {
 protected:
  Result<Reader> OpenSource(std::unique_ptr<ByteSource> source,
                            TorchFileReadOptions options = {}) {
    return Await(strand, TorchFileReader::Open(std::move(source), strand, pool,
                                               std::move(options), {}));
  }
  Result<Reader> OpenBytes(const std::string& bytes,
                           TorchFileReadOptions options = {}) {
    bucket.PutBytes("k", bytes);
    return OpenSource(
        std::make_unique<ObjectSource>(store, strand, "k", "s3://bucket/k"),
        std::move(options));
  }
  // Loads every storage, whole.
  Result<void> Load(TorchFileReader& reader) {
    auto memory = std::make_shared<std::vector<std::string>>();
    std::vector<TorchFileReader::Want> wants;
    memory->reserve(reader.records().size());
    for (const TorchFileReader::Record& record : reader.records()) {
      memory->emplace_back(record.storage->bytes, '\0');
      record.storage->memory =
          std::as_writable_bytes(std::span(memory->back()));
      record.storage->owner = memory;
      wants.push_back(
          {&record, 0, record.storage->bytes, record.storage->memory});
    }
    return Await(strand, reader.Read(std::move(wants), memory, pool, {}));
  }

  static std::vector<float> Floats(const TensorView& tensor) {
    std::vector<float> out;
    const std::byte* base = tensor.storage->memory.data();
    for (std::int64_t i = 0; i < tensor.numel(); ++i) {
      // Enough for the one and two dimensions of the fixtures.
      std::int64_t at = tensor.offset;
      std::int64_t rest = i;
      for (std::size_t d = tensor.shape.size(); d-- > 0;) {
        at += rest % tensor.shape[d] * tensor.strides[d];
        rest /= tensor.shape[d];
      }
      float value = 0;
      std::memcpy(&value, base + at * 4, 4);
      out.push_back(value);
    }
    return out;
  }
  void ExpectValues(TorchFileReader& reader) {
    const Dict& top = *reader.value().AsDict();
    EXPECT_EQ(top.Find("epoch")->AsInt(), 3);
    EXPECT_EQ(top.Find("lr")->AsDouble(), 0.5);
    EXPECT_EQ(top.Find("neg")->AsInt(), -5);
    EXPECT_EQ(top.Find("big")->AsBigInt()->data,
              std::string("\0\0\0\0\0\0\0\0\x40", 9));
    EXPECT_EQ(top.Find("t")->AsTuple()->items.size(), 4u);
    EXPECT_TRUE(top.Find("l")->AsList()->items[0].is_none());
    EXPECT_EQ(top.Find("l")->AsList()->items[1].AsBool(), true);
    EXPECT_EQ(top.Find("s")->AsSet()->items[0].AsInt(), 1);
    EXPECT_EQ(top.Find("b")->AsBytes()->data, std::string("\xff\0a", 3));
    EXPECT_TRUE(top.Find("size")->AsObject()->Is("torch", "Size"));
    EXPECT_EQ(*top.Find("dt")->AsGlobal(), (Global{"torch", "float16"}));
    const Dict& state = *top.Find("state_dict")->AsDict();
    EXPECT_EQ(state.type(), Dict::Type::kOrderedDict);
    EXPECT_NE(state.attributes.AsDict()->Find("_metadata"), nullptr);
    const TensorView& w = *state.Find("w")->AsTensor();
    const TensorView& view = *state.Find("view")->AsTensor();
    EXPECT_EQ(w.storage, view.storage);
    EXPECT_EQ(w.shape, (std::vector<std::int64_t>{2, 3}));
    EXPECT_TRUE(w.contiguous());
    EXPECT_EQ(Floats(w), (std::vector<float>{0, 1, 2, 3, 4, 5}));
    EXPECT_FALSE(view.contiguous());
    EXPECT_EQ(Floats(view), (std::vector<float>{2, 4}));
    const TensorView& h = *state.Find("h")->AsTensor();
    EXPECT_EQ(h.dtype, DType::kBFloat16);
    EXPECT_EQ(std::memcmp(h.bytes().data(), "\xc0\x3f\x00\xc0", 4), 0);
    const TensorView& u = *state.Find("u")->AsTensor();
    EXPECT_EQ(u.dtype, DType::kUInt16);
    EXPECT_EQ(std::memcmp(u.bytes().data(), "\x07\x00", 2), 0);
    EXPECT_EQ(state.Find("e")->AsTensor()->numel(), 0);
    const TensorView* p = TensorIn(*top.Find("p"));
    ASSERT_NE(p, nullptr);
    EXPECT_EQ(Floats(*p), (std::vector<float>{1, 1}));
  }

  MemoryObjectStore bucket;
  FaultObjectStore store{bucket};
  ThreadPool strand{"strand", 1};
  ThreadPool pool{"pool", 2};
};

TEST_F(TorchFile, ReadsWhatTorchWrote) {
  for (const char* name : {"values.pt", "deflated.pt"}) {
    SCOPED_TRACE(name);
    Result<Reader> reader = OpenBytes(FixtureBytes(name));
    ASSERT_TRUE(reader.has_value()) << reader.error().ToString();
    Result<void> loaded = Load(**reader);
    ASSERT_TRUE(loaded.has_value()) << loaded.error().ToString();
    ExpectValues(**reader);
  }
}

TEST_F(TorchFile, ReadsPlainFiles) {
  Result<Reader> reader =
      OpenSource(std::make_unique<FileSource>(FixturePath("values.pt"), pool));
  ASSERT_TRUE(reader.has_value()) << reader.error().ToString();
  ASSERT_TRUE(Load(**reader).has_value());
  ExpectValues(**reader);
  EXPECT_EQ(
      OpenSource(std::make_unique<FileSource>(FixturePath("absent"), pool))
          .error()
          .code(),
      ErrorCode::kNotFound);
}

TEST_F(TorchFile, ASmallFileIsOneRequest) {
  Result<Reader> reader = OpenBytes(FixtureBytes("values.pt"));
  ASSERT_TRUE(reader.has_value());
  ASSERT_TRUE(Load(**reader).has_value());
  ExpectValues(**reader);
  EXPECT_EQ(store.log().size(), 1u);
}

TEST_F(TorchFile, FetchesThePartOfAStorageThatIsWanted) {
  Result<Reader> reader = OpenBytes(FixtureBytes("values.pt"));
  ASSERT_TRUE(reader.has_value());
  auto memory = std::make_shared<std::string>(8, '\0');
  std::vector<TorchFileReader::Want> wants = {
      {&(*reader)->records()[0], 8, 16,
       std::as_writable_bytes(std::span(*memory))}};
  ASSERT_TRUE(Await(strand, (*reader)->Read(std::move(wants), memory, pool, {}))
                  .has_value());
  float values[2];
  std::memcpy(values, memory->data(), 8);
  EXPECT_EQ(values[0], 2);
  EXPECT_EQ(values[1], 3);
}

// [S-63]
TEST_F(TorchFile, UnknownClassesAreRefusedOrCarriedAlong) {
  const std::string bytes = FixtureBytes("unsafe.pt");
  const auto refused = OpenBytes(bytes);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), ErrorCode::kInvalidArgument);
  EXPECT_NE(refused.error().message().find("pathlib.PurePosixPath"),
            std::string::npos)
      << refused.error().ToString();
  TorchFileReadOptions options;
  options.safe_globals = {{"pathlib", "PurePosixPath"}};
  EXPECT_TRUE(OpenBytes(bytes, options).has_value());
  options = {};
  options.weights_only = false;
  const auto carried = OpenBytes(bytes, options);
  ASSERT_TRUE(carried.has_value()) << carried.error().ToString();
  const Value* path = (*carried)->value().AsDict()->Find("path");
  EXPECT_TRUE(path->AsObject()->Is("pathlib", "PurePosixPath"));
}

TEST_F(TorchFile, OtherFormatsAreRefusedByName) {
  const auto legacy = OpenBytes(FixtureBytes("legacy.pt"));
  ASSERT_FALSE(legacy.has_value());
  EXPECT_EQ(legacy.error().code(), ErrorCode::kUnsupported);
  EXPECT_NE(legacy.error().message().find("legacy"), std::string::npos);
  EXPECT_EQ(OpenBytes("not a checkpoint").error().code(),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(OpenBytes("").error().code(), ErrorCode::kInvalidArgument);
}

TEST_F(TorchFile, AFileThatIsCutShortIsRefused) {
  const std::string bytes = FixtureBytes("values.pt");
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    const auto opened = OpenBytes(bytes.substr(0, n));
    ASSERT_FALSE(opened.has_value()) << n;
    EXPECT_EQ(opened.error().code(), ErrorCode::kInvalidArgument) << n;
  }
}

TEST_F(TorchFile, DamageNeverCrashes) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  for (const char* name : {"values.pt", "deflated.pt"}) {
    const std::string bytes = FixtureBytes(name);
    for (int round = 0; round < 3000; ++round) {
      std::string damaged = bytes;
      for (int n = 1 + static_cast<int>(random() % 3); n > 0; --n) {
        damaged[random() % damaged.size()] = static_cast<char>(random());
      }
      Result<Reader> reader = OpenBytes(damaged);
      if (reader) {
        (void)Load(**reader);
      } else {
        EXPECT_FALSE(reader.error().message().empty());
      }
    }
  }
}

}  // namespace
}  // namespace ckptfs
