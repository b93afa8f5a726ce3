// SaveTorchFile, LoadTorchFile, LoadTorchFileInto: through the public API.
#include <ckptfs/checkpoint/tensor_names.h>
#include <ckptfs/checkpoint/torch_file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <optional>
#include <stop_token>
#include <thread>

#include "checkpoint/io/opened_file.h"
#include "checkpoint/zip/zip_reader.h"
#include "unit/checkpoint/engine_fixture.h"

namespace ckptfs {
namespace {

constexpr char kPath[] = "s3://bucket/run/last.ckpt";

class TorchFileLoad : public EngineTest {
 protected:
  TensorView Loaded(const Value& value, std::string_view name) {
    TensorView found;
    EXPECT_TRUE(VisitTensors(value, [&](const std::string& n, TensorView& t) {
      if (n == name) found = t;
    }));
    EXPECT_NE(found.storage, nullptr) << name;
    return found;
  }
  void Save(const Value& value, const std::string& path = kPath) {
    const Result<void> saved = SaveTorchFile(engine, value, path).Get();
    ASSERT_TRUE(saved) << saved.error().ToString();
  }
  ObjectInfo Stored() {
    HeadRequest head;
    head.key = "run/last.ckpt";
    return *bucket.Head(std::move(head)).Get();
  }
  // As its checksum tells.
  void ExpectDamageIn(const std::string& record) {
    LoadOptions options;
    options.verify_crc = true;
    const Result<Value> loaded = LoadTorchFile(engine, kPath, options).Get();
    ASSERT_FALSE(loaded);
    EXPECT_EQ(loaded.error().code(), ErrorCode::kDataLoss);
    EXPECT_NE(loaded.error().message().find(record), std::string::npos)
        << loaded.error().message();
  }
  // Bytes of bodies that were asked for since `from` calls.
  std::uint64_t Fetched(std::size_t from) {
    std::uint64_t sum = 0;
    for (const StoreCall& call : store->log()) {
      if (call.id >= from && call.operation == StoreOperation::kGet) {
        sum += call.size;
      }
    }
    return sum;
  }
};

TEST_F(TorchFileLoad, WhatWasSavedIsLoaded) {
  for (const std::string& path : {std::string(kPath), folder + "/last.ckpt"}) {
    const TensorView weight = NewTensor({300, 1000}, 1);
    const TensorView large = NewTensor({5, 1 << 20}, 2);  // several parts
    Save(State({{"epoch", 3},
                {"state_dict", State({{"fc.weight", weight}, {"w", large}})}}),
         path);
    const Result<Value> loaded = LoadTorchFile(engine, path).Get();
    ASSERT_TRUE(loaded) << loaded.error().ToString();
    EXPECT_EQ(loaded->AsDict()->Find("epoch")->AsInt(), 3);
    EXPECT_EQ(BytesOf(Loaded(*loaded, "state_dict.fc.weight")),
              BytesOf(weight));
    EXPECT_EQ(BytesOf(Loaded(*loaded, "state_dict.w")), BytesOf(large));
  }
}

TEST_F(TorchFileLoad, SharedStoragesStayShared) {
  const auto storage = Filled(4000, 3);
  Save(State(
      {{"a", Tensor(storage, {500})}, {"b", Tensor(storage, {500}, 500)}}));
  const Result<Value> loaded = LoadTorchFile(engine, kPath).Get();
  ASSERT_TRUE(loaded);
  EXPECT_EQ(Loaded(*loaded, "a").storage, Loaded(*loaded, "b").storage);
}

TEST_F(TorchFileLoad, AFilterFetchesOnlyWhatIsWanted) {
  const auto shared = Filled(8 << 20, 4);
  const TensorView part = Tensor(shared, {1000}, 1 << 20);
  Save(State({{"large", NewTensor({4 << 20}, 5)},
              {"small", NewTensor({1000}, 6)},
              {"shared", State({{"first", Tensor(shared, {1 << 20})},
                                {"part", part}})}}));
  const std::size_t before = store->log().size();
  LoadOptions options;
  options.filter = [](std::string_view name) {
    return name == "small" || name == "shared.part";
  };
  const Result<Value> loaded = LoadTorchFile(engine, kPath, options).Get();
  ASSERT_TRUE(loaded) << loaded.error().ToString();
  EXPECT_EQ(BytesOf(Loaded(*loaded, "shared.part")), BytesOf(part));
  EXPECT_EQ(Loaded(*loaded, "small").bytes().size(), 4000u);
  const TensorView left_out = Loaded(*loaded, "large");
  EXPECT_EQ(left_out.shape, (std::vector<std::int64_t>{4 << 20}));
  EXPECT_TRUE(left_out.storage->memory.empty());
  EXPECT_TRUE(Loaded(*loaded, "shared.first").storage->memory.empty());
  // Head, tail, the two tensors.
  EXPECT_LT(Fetched(before),
            OpenedFile::kHeadBytes + ZipReader::kTailBytes + 32'000);
}

TEST_F(TorchFileLoad, SmallFilesNeedFewRequests) {
  const auto requests = [&](std::int64_t floats) {
    const TensorView saved = NewTensor({floats}, 7);
    Save(State({{"w", saved}}));
    const std::size_t before = store->log().size();
    const Result<Value> loaded = LoadTorchFile(engine, kPath).Get();
    EXPECT_TRUE(loaded) << loaded.error().ToString();
    EXPECT_TRUE(loaded && BytesOf(Loaded(*loaded, "w")) == BytesOf(saved));
    return store->log().size() - before;
  };
  // A MiB of tensors comes with the head; a little more, with the tail.
  EXPECT_EQ(requests((1 << 20) / 4), 1u);
  const std::int64_t both = OpenedFile::kHeadBytes + ZipReader::kTailBytes;
  EXPECT_EQ(requests((both - (4 << 10)) / 4), 2u);
  EXPECT_EQ(requests((both + (4 << 10)) / 4), 3u);
}

TEST_F(TorchFileLoad, InPlaceFillsTheGivenMemory) {
  const TensorView a = NewTensor({64, 100}, 7);
  const TensorView b = NewTensor({30, 20}, 8);
  Save(State({{"a", a}, {"b", b}, {"epoch", 9}}));
  TensorView into_a = NewTensor({64, 100}, 0);
  // A transposed one.
  TensorView into_b = NewTensor({20, 30}, 0);
  into_b.shape = {30, 20};
  into_b.strides = {1, 30};
  const Result<LoadReport> report =
      LoadTorchFileInto(engine, kPath, State({{"a", into_a}, {"b", into_b}}))
          .Get();
  ASSERT_TRUE(report) << report.error().ToString();
  EXPECT_EQ(BytesOf(into_a), BytesOf(a));
  const auto* from = reinterpret_cast<const float*>(b.bytes().data());
  const auto* to =
      reinterpret_cast<const float*>(into_b.storage->memory.data());
  for (int i = 0; i < 30; ++i) {
    for (int j = 0; j < 20; ++j) {
      ASSERT_EQ(std::memcmp(&from[i * 20 + j], &to[j * 30 + i], 4), 0);
    }
  }
  EXPECT_EQ(report->value.AsDict()->Find("epoch")->AsInt(), 9);
  EXPECT_EQ(Loaded(report->value, "a").storage, into_a.storage);
}

TEST_F(TorchFileLoad, TiedTensorsAreFetchedOnceAndFillBothTargets) {
  const auto tied = Filled(4 << 20, 9);
  Save(State(
      {{"embed", Tensor(tied, {1 << 20})}, {"head", Tensor(tied, {1 << 20})}}));
  TensorView embed = NewTensor({1 << 20}, 0);
  TensorView head = NewTensor({1 << 20}, 1);
  const std::size_t before = store->log().size();
  ASSERT_TRUE(LoadTorchFileInto(engine, kPath,
                                State({{"embed", embed}, {"head", head}}))
                  .Get());
  EXPECT_EQ(BytesOf(embed), BytesOf(Tensor(tied, {1 << 20})));
  EXPECT_EQ(BytesOf(head), BytesOf(embed));
  EXPECT_LT(Fetched(before), (6u << 20));
}

TEST_F(TorchFileLoad, ATargetWhoseElementsShareMemoryIsRefused) {
  Save(State({{"a", NewTensor({4, 3}, 1)}}));
  for (const std::vector<std::int64_t>& strides :
       {std::vector<std::int64_t>{0, 1}, {0, 0}}) {
    TensorView a = NewTensor({4, 3}, 2);
    a.strides = strides;
    const std::string before = BytesOf(NewTensor({4, 3}, 2));
    const Result<LoadReport> report =
        LoadTorchFileInto(engine, kPath, State({{"a", a}})).Get();
    ASSERT_FALSE(report);
    EXPECT_NE(report.error().message().find("tensor a is expanded"),
              std::string::npos)
        << report.error().message();
    a.strides = {3, 1};
    EXPECT_EQ(BytesOf(a), before);
  }
}

// [S-64]
TEST_F(TorchFileLoad, AWrongShapeOrDTypeTouchesNothing) {
  Save(State({{"a", NewTensor({100}, 1)}, {"b", NewTensor({100}, 2)}}));
  TensorView a = NewTensor({100}, 3);
  const std::string before = BytesOf(a);
  TensorView shorter = NewTensor({50}, 4);
  Result<LoadReport> report =
      LoadTorchFileInto(engine, kPath, State({{"a", a}, {"b", shorter}})).Get();
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code(), ErrorCode::kInvalidArgument);
  EXPECT_NE(report.error().message().find("tensor b has the shape [100] in "
                                          "the file and [50]"),
            std::string::npos)
      << report.error().message();
  TensorView other = NewTensor({100}, 4);
  other.dtype = DType::kInt32;
  report =
      LoadTorchFileInto(engine, kPath, State({{"a", a}, {"b", other}})).Get();
  ASSERT_FALSE(report);
  EXPECT_NE(report.error().message().find("float32"), std::string::npos);
  EXPECT_EQ(BytesOf(a), before);
}

TEST_F(TorchFileLoad, NamesMatchStrictlyOrAreListed) {
  Save(State({{"a", NewTensor({100}, 1)}, {"b", NewTensor({100}, 2)}}));
  TensorView a = NewTensor({100}, 3);
  const std::string before = BytesOf(a);
  const Value into = State({{"a", a}, {"c", NewTensor({1}, 0)}});
  Result<LoadReport> report = LoadTorchFileInto(engine, kPath, into).Get();
  ASSERT_FALSE(report);
  EXPECT_EQ(BytesOf(a), before);
  EXPECT_NE(report.error().message().find("it has no tensor c; there is no "
                                          "place for b"),
            std::string::npos)
      << report.error().message();
  LoadIntoOptions options;
  options.strict = false;
  report = LoadTorchFileInto(engine, kPath, into, options).Get();
  ASSERT_TRUE(report);
  EXPECT_EQ(report->missing, std::vector<std::string>{"c"});
  EXPECT_EQ(report->unexpected, std::vector<std::string>{"b"});
  EXPECT_NE(BytesOf(a), before);
}

TEST_F(TorchFileLoad, DamageShowsWithCrcs) {
  const TensorView a = NewTensor({100'000}, 1);
  Save(State({{"a", a}}));
  auto bytes = std::make_shared<std::string>(1 << 20, '\0');
  GetRequest get;
  get.key = "run/last.ckpt";
  get.destination.segments = {std::as_writable_bytes(std::span(*bytes))};
  bytes->resize(bucket.Get(std::move(get)).Get()->bytes);
  (*bytes)[bytes->find(BytesOf(a)) + 1234] ^= 1;
  PutRequest put;
  put.key = "run/last.ckpt";
  put.payload.segments = {std::as_bytes(std::span(*bytes))};
  ASSERT_TRUE(bucket.Put(std::move(put)).Get());
  EXPECT_TRUE(LoadTorchFile(engine, kPath).Get());
  ExpectDamageIn("last/data/0");
}

TEST_F(TorchFileLoad, ADamagedPickleIsFoundByItsChecksum) {
  Save(State({{"weight", NewTensor({100}, 1)}}));
  std::string bytes = bucket.Snapshot().at("run/last.ckpt");
  bytes[bytes.find("weight")] ^= 1;
  bucket.PutBytes("run/last.ckpt", bytes);
  EXPECT_TRUE(LoadTorchFile(engine, kPath).Get());
  ExpectDamageIn("last/data.pkl");
}

TEST_F(TorchFileLoad, ProgressEndsAtTheTotal) {
  std::uint64_t last = 0;
  std::uint64_t all = 0;
  int calls = 0;
  const Progress progress = [&](std::uint64_t done, std::uint64_t total) {
    EXPECT_GT(done, last);
    last = done;
    all = total;
    ++calls;
  };
  SaveOptions save;
  save.progress = progress;
  ASSERT_TRUE(SaveTorchFile(engine, State({{"a", NewTensor({4 << 20}, 1)}}),
                            kPath, save)
                  .Get());
  EXPECT_EQ(last, all);
  EXPECT_EQ(calls, 4);  // parts of 5 MiB
  EXPECT_EQ(all, Stored().size);
  last = 0;
  LoadOptions load;
  load.progress = progress;
  ASSERT_TRUE(LoadTorchFile(engine, kPath, load).Get());
  EXPECT_EQ(last, 16u << 20);
  EXPECT_EQ(last, all);
}

// [S-61]
TEST_F(TorchFileLoad, ACancelledSaveLeavesNothing) {
  Save(State({{"a", NewTensor({10}, 1)}}));
  const ETag before = Stored().etag;
  std::stop_source stop;
  // Parts that end with the stop request alone.
  store->SetPolicy([](const StoreCall& call) -> std::optional<Verdict> {
    if (call.operation == StoreOperation::kUploadPart) return std::nullopt;
    return Verdict::Forward();
  });
  SaveOptions options;
  options.stop = stop.get_token();
  Future<void> saving = SaveTorchFile(
      engine, State({{"a", NewTensor({8 << 20}, 2)}}), kPath, options);
  while (store->pending().empty()) std::this_thread::yield();
  stop.request_stop();
  while (!saving.ready()) {
    for (const StoreCall& call : store->pending()) {
      if (call.cancelled) store->Release(call.id, Verdict::CancelBefore());
    }
  }
  const Result<void> saved = std::move(saving).Get();
  ASSERT_FALSE(saved);
  EXPECT_EQ(saved.error().code(), ErrorCode::kCancelled);
  EXPECT_EQ(Stored().etag, before);
  EXPECT_TRUE(bucket.ListMultipartUploads({}).Get()->uploads.empty());
}

// [S-61]
TEST_F(TorchFileLoad, AFailedPartLeavesNothing) {
  Save(State({{"a", NewTensor({10}, 1)}}));
  store->FailNext(StoreOperation::kUploadPart, Verdict::FailBefore(), -1);
  const Result<void> saved =
      SaveTorchFile(engine, State({{"a", NewTensor({8 << 20}, 2)}}), kPath)
          .Get();
  ASSERT_FALSE(saved);
  EXPECT_EQ(saved.error().code(), ErrorCode::kUnavailable);
  EXPECT_NE(saved.error().message().find(kPath), std::string::npos);
  EXPECT_TRUE(bucket.ListMultipartUploads({}).Get()->uploads.empty());
}

// [S-61]
TEST_F(TorchFileLoad, AFailedPlainFileLeavesNothing) {
  const Result<void> saved =
      SaveTorchFile(engine, State({{"a", NewTensor({10}, 1)}}),
                    folder + "/absent/last.ckpt")
          .Get();
  ASSERT_FALSE(saved);
  EXPECT_EQ(saved.error().code(), ErrorCode::kNotFound);
  EXPECT_TRUE(std::filesystem::is_empty(folder));
}

TEST_F(TorchFileLoad, AForkedProcessStartsItsOwn) {
  Save(State({{"a", NewTensor({10}, 1)}}));
  const std::string path = folder + "/child.ckpt";
  const pid_t child = fork();
  if (child == 0) {
    const bool saved =
        SaveTorchFile(engine, State({{"a", NewTensor({10}, 2)}}), path)
            .Get()
            .has_value();
    _exit(saved ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(LoadTorchFile(engine, path).Get());
}

TEST_F(TorchFileLoad, OneRequestComesBeforeTheFirstPart) {
  Save(State({{"a", NewTensor({8 << 20}, 1)}}));
  const std::vector<StoreCall> calls = store->log();
  ASSERT_GE(calls.size(), 2u);
  EXPECT_EQ(calls[0].operation, StoreOperation::kCreateMultipart);
  EXPECT_EQ(calls[1].operation, StoreOperation::kUploadPart);
  // What fits into a part is one request.
  const std::size_t before = store->log().size();
  Save(State({{"a", NewTensor({1 << 20}, 1)}}));
  EXPECT_EQ(store->log().size(), before + 1);
  EXPECT_EQ(store->log().back().operation, StoreOperation::kPut);
}

TEST_F(TorchFileLoad, ABucketIsOpenedOnce) {
  Save(State({}));
  Save(State({}), "s3://bucket/other");
  Save(State({}), "s3://second/other");
  EXPECT_EQ(opened, (std::vector<std::string>{"bucket", "second"}));
}

}  // namespace
}  // namespace ckptfs
