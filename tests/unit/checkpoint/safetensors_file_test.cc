// SaveSafetensors, LoadSafetensors, LoadSafetensorsInto: through the public
// API.
#include <ckptfs/checkpoint/safetensors.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <stop_token>
#include <thread>

#include "checkpoint/io/opened_file.h"
#include "unit/checkpoint/engine_fixture.h"

namespace ckptfs {
namespace {

constexpr char kPath[] = "s3://bucket/run/model.safetensors";
constexpr std::uint64_t kHead = OpenedFile::kHeadBytes;

class SafetensorsFiles : public EngineTest {
 protected:
  void Save(SafetensorsFile file, const std::string& path = kPath,
            SaveOptions options = {}) {
    const Result<void> saved =
        SaveSafetensors(engine, std::move(file), path, std::move(options))
            .Get();
    ASSERT_TRUE(saved) << saved.error().ToString();
  }
  static TensorView Of(const SafetensorsFile& file, const std::string& name) {
    for (const auto& [known, tensor] : file.tensors) {
      if (known == name) return tensor;
    }
    ADD_FAILURE() << "no " << name;
    return NewTensor({1}, 0);
  }
  std::vector<StoreCall> GetsSince(std::size_t from) {
    std::vector<StoreCall> gets;
    for (const StoreCall& call : store->log()) {
      if (call.id >= from && call.operation == StoreOperation::kGet) {
        gets.push_back(call);
      }
    }
    return gets;
  }
  std::uint64_t FetchedSince(std::size_t from) {
    std::uint64_t sum = 0;
    for (const StoreCall& call : GetsSince(from)) sum += call.size;
    return sum;
  }
};

TEST_F(SafetensorsFiles, WhatWasSavedIsLoaded) {
  for (const std::string& path :
       {std::string(kPath), folder + "/model.safetensors"}) {
    const TensorView large = NewTensor({5, 1 << 20}, 1);  // several parts
    const TensorView small = NewTensor({3, 7}, 2);
    TensorView half = NewTensor({2, 5}, 3);
    half.dtype = DType::kBFloat16;
    Save({{{"w.large", large},
           {"small", small},
           {"half", half},
           {"scalar", NewTensor({}, 4)},
           {"none", NewTensor({0, 3}, 0)}},
          {{"format", "pt"}, {"epoch", "3"}}},
         path);
    const Result<SafetensorsFile> loaded = LoadSafetensors(engine, path).Get();
    ASSERT_TRUE(loaded) << loaded.error().ToString();
    EXPECT_EQ(loaded->metadata.at("epoch"), "3");
    ASSERT_EQ(loaded->tensors.size(), 5u);
    EXPECT_EQ(BytesOf(Of(*loaded, "w.large")), BytesOf(large));
    EXPECT_EQ(BytesOf(Of(*loaded, "small")), BytesOf(small));
    EXPECT_EQ(BytesOf(Of(*loaded, "half")), BytesOf(half));
    EXPECT_EQ(Of(*loaded, "half").dtype, DType::kBFloat16);
    EXPECT_EQ(Of(*loaded, "scalar").shape, std::vector<std::int64_t>{});
    EXPECT_EQ(BytesOf(Of(*loaded, "scalar")), BytesOf(NewTensor({}, 4)));
    EXPECT_EQ(Of(*loaded, "none").shape, (std::vector<std::int64_t>{0, 3}));
    // By falling alignment, then by name.
    EXPECT_EQ(loaded->tensors.back().first, "half");
    EXPECT_EQ(loaded->tensors.front().first, "none");
  }
}

TEST_F(SafetensorsFiles, SharedStoragesAreWrittenAsValues) {
  const auto storage = Filled(4000, 3);
  const TensorView all = Tensor(storage, {1000});
  const TensorView part = Tensor(storage, {500}, 500);
  Save({{{"all", all}, {"part", part}, {"again", all}}, {}});
  const Result<SafetensorsFile> loaded = LoadSafetensors(engine, kPath).Get();
  ASSERT_TRUE(loaded);
  EXPECT_EQ(BytesOf(Of(*loaded, "all")), BytesOf(all));
  EXPECT_EQ(BytesOf(Of(*loaded, "again")), BytesOf(all));
  EXPECT_EQ(BytesOf(Of(*loaded, "part")), BytesOf(part));
}

TEST_F(SafetensorsFiles, WhatCannotBeWrittenIsNamed) {
  const auto why = [this](TensorView tensor) {
    const Result<void> saved =
        SaveSafetensors(
            engine, {{{"good", NewTensor({2}, 1)}, {"bad.one", tensor}}, {}},
            kPath)
            .Get();
    EXPECT_FALSE(saved);
    return saved ? std::string() : saved.error().message();
  };
  TensorView transposed = NewTensor({3, 4}, 1);
  transposed.shape = {4, 3};
  transposed.strides = {1, 4};
  EXPECT_NE(why(transposed).find("\"bad.one\" is not contiguous"),
            std::string::npos)
      << why(transposed);
  TensorView absent = NewTensor({3}, 1);
  absent.storage = std::make_shared<Storage>();
  absent.storage->bytes = 12;
  EXPECT_NE(why(absent).find("\"bad.one\" is not loaded"), std::string::npos);
  TensorView beyond = NewTensor({3}, 1);
  beyond.offset = 1;
  EXPECT_NE(why(beyond).find("\"bad.one\" lies outside"), std::string::npos);
  TensorView wide = NewTensor({4}, 1);
  wide.dtype = DType::kComplex128;
  wide.shape = {1};
  wide.strides = {1};
  EXPECT_NE(why(wide).find("no dtype complex128"), std::string::npos);
  HeadRequest head;
  head.key = "run/model.safetensors";
  EXPECT_FALSE(bucket.Head(std::move(head)).Get());
}

TEST_F(SafetensorsFiles, ASmallFileIsOneRequestEachWay) {
  Save({{{"a", NewTensor({100}, 1)}, {"b", NewTensor({200}, 2)}}, {}});
  ASSERT_EQ(store->log().size(), 1u);
  EXPECT_EQ(store->log()[0].operation, StoreOperation::kPut);
  ASSERT_TRUE(LoadSafetensors(engine, kPath).Get());
  EXPECT_EQ(store->log().size(), 2u);
}

TEST_F(SafetensorsFiles, NeighboursTravelTogether) {
  // 6 MiB of small tensors behind the head: one range joins them all.
  SafetensorsFile file;
  for (int i = 0; i < 100; ++i) {
    file.tensors.emplace_back("t" + std::to_string(i),
                              NewTensor({1 << 14}, static_cast<unsigned>(i)));
  }
  Save(file);
  const std::size_t before = store->log().size();
  const Result<SafetensorsFile> loaded = LoadSafetensors(engine, kPath).Get();
  ASSERT_TRUE(loaded) << loaded.error().ToString();
  EXPECT_EQ(GetsSince(before).size(), 2u);
  for (const auto& [name, tensor] : file.tensors) {
    ASSERT_EQ(BytesOf(Of(*loaded, name)), BytesOf(tensor)) << name;
  }
}

TEST_F(SafetensorsFiles, AFilterFetchesOnlyWhatIsWanted) {
  const TensorView wanted = NewTensor({1000}, 2);
  Save({{{"a", NewTensor({4 << 20}, 1)},
         {"m", wanted},
         {"z", NewTensor({4 << 20}, 3)}},
        {}});
  const std::size_t before = store->log().size();
  LoadOptions options;
  options.filter = [](std::string_view name) { return name == "m"; };
  const Result<SafetensorsFile> loaded =
      LoadSafetensors(engine, kPath, options).Get();
  ASSERT_TRUE(loaded) << loaded.error().ToString();
  EXPECT_EQ(BytesOf(Of(*loaded, "m")), BytesOf(wanted));
  EXPECT_EQ(Of(*loaded, "z").shape, (std::vector<std::int64_t>{4 << 20}));
  EXPECT_TRUE(Of(*loaded, "z").storage->memory.empty());
  EXPECT_EQ(FetchedSince(before), kHead + 4000);
}

TEST_F(SafetensorsFiles, AHeaderBeyondTheHeadIsFetched) {
  SafetensorsFile file;
  const std::string stem(300, 'n');
  for (int i = 0; i < 4000; ++i) {
    file.tensors.emplace_back(stem + std::to_string(i),
                              NewTensor({2}, static_cast<unsigned>(i)));
  }
  Save(file);
  const Result<SafetensorsFile> loaded = LoadSafetensors(engine, kPath).Get();
  ASSERT_TRUE(loaded) << loaded.error().ToString();
  ASSERT_EQ(loaded->tensors.size(), 4000u);
  EXPECT_EQ(BytesOf(Of(*loaded, stem + "77")), BytesOf(NewTensor({2}, 77)));
}

TEST_F(SafetensorsFiles, InPlaceFillsTheGivenMemory) {
  const TensorView a = NewTensor({64, 100}, 7);
  const TensorView b = NewTensor({30, 20}, 8);
  const TensorView large = NewTensor({3 << 20}, 9);
  Save({{{"a", a}, {"b", b}, {"large", large}}, {}});
  const TensorView into_a = NewTensor({64, 100}, 0);
  const TensorView into_large = NewTensor({3 << 20}, 0);
  TensorView into_b = NewTensor({20, 30}, 0);  // a transposed one
  into_b.shape = {30, 20};
  into_b.strides = {1, 30};
  const Result<LoadReport> report =
      LoadSafetensorsInto(engine, kPath,
                          {{"a", into_a}, {"b", into_b}, {"large", into_large}})
          .Get();
  ASSERT_TRUE(report) << report.error().ToString();
  EXPECT_EQ(BytesOf(into_a), BytesOf(a));
  EXPECT_EQ(BytesOf(into_large), BytesOf(large));
  const auto* from = reinterpret_cast<const float*>(b.bytes().data());
  const auto* to =
      reinterpret_cast<const float*>(into_b.storage->memory.data());
  for (int i = 0; i < 30; ++i) {
    for (int j = 0; j < 20; ++j) {
      ASSERT_EQ(std::memcmp(&from[i * 20 + j], &to[j * 30 + i], 4), 0);
    }
  }
  EXPECT_EQ(report->value.AsDict()->Find("a")->AsTensor()->storage,
            into_a.storage);
}

// Two targets in the same memory: each receives its tensor, the later one
// stays.
TEST_F(SafetensorsFiles, TiedTargetsShareTheirMemory) {
  const TensorView tied = NewTensor({1000}, 1);
  Save({{{"embed", tied}, {"head", tied}}, {}});
  const TensorView one = NewTensor({1000}, 0);
  ASSERT_TRUE(
      LoadSafetensorsInto(engine, kPath, {{"embed", one}, {"head", one}})
          .Get());
  EXPECT_EQ(BytesOf(one), BytesOf(tied));
}

// [S-64]
TEST_F(SafetensorsFiles, AWrongShapeOrDTypeTouchesNothing) {
  Save({{{"a", NewTensor({100}, 1)}, {"b", NewTensor({100}, 2)}}, {}});
  const TensorView a = NewTensor({100}, 3);
  const std::string before = BytesOf(a);
  Result<LoadReport> report =
      LoadSafetensorsInto(engine, kPath, {{"a", a}, {"b", NewTensor({50}, 4)}})
          .Get();
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code(), ErrorCode::kInvalidArgument);
  EXPECT_NE(report.error().message().find("tensor b has the shape [100] in "
                                          "the file and [50]"),
            std::string::npos)
      << report.error().message();
  TensorView other = NewTensor({100}, 4);
  other.dtype = DType::kInt32;
  report = LoadSafetensorsInto(engine, kPath, {{"a", a}, {"b", other}}).Get();
  ASSERT_FALSE(report);
  EXPECT_NE(report.error().message().find("float32"), std::string::npos);
  EXPECT_EQ(BytesOf(a), before);
}

TEST_F(SafetensorsFiles, NamesMatchStrictlyOrAreListed) {
  Save({{{"a", NewTensor({100}, 1)}, {"b", NewTensor({100}, 2)}}, {}});
  const TensorView a = NewTensor({100}, 3);
  const std::string before = BytesOf(a);
  const std::map<std::string, TensorView> into = {{"a", a},
                                                  {"c", NewTensor({1}, 0)}};
  Result<LoadReport> report = LoadSafetensorsInto(engine, kPath, into).Get();
  ASSERT_FALSE(report);
  EXPECT_EQ(BytesOf(a), before);
  EXPECT_NE(report.error().message().find("it has no tensor c; there is no "
                                          "place for b"),
            std::string::npos)
      << report.error().message();
  LoadIntoOptions options;
  options.strict = false;
  report = LoadSafetensorsInto(engine, kPath, into, options).Get();
  ASSERT_TRUE(report);
  EXPECT_EQ(report->missing, std::vector<std::string>{"c"});
  EXPECT_EQ(report->unexpected, std::vector<std::string>{"b"});
  EXPECT_EQ(BytesOf(a), BytesOf(NewTensor({100}, 1)));
  // What the filter refuses counts as neither.
  options.strict = true;
  options.load.filter = [](std::string_view name) { return name == "a"; };
  report = LoadSafetensorsInto(engine, kPath, into, options).Get();
  ASSERT_TRUE(report) << report.error().ToString();
  EXPECT_TRUE(report->missing.empty() && report->unexpected.empty());
}

TEST_F(SafetensorsFiles, DamagedFilesAreErrors) {
  const auto why = [this](const std::string& bytes) {
    PutRequest put;
    put.key = "run/model.safetensors";
    put.payload.segments = {std::as_bytes(std::span(bytes))};
    EXPECT_TRUE(bucket.Put(std::move(put)).Get());
    const Result<SafetensorsFile> loaded = LoadSafetensors(engine, kPath).Get();
    EXPECT_FALSE(loaded);
    if (loaded) return std::string();
    EXPECT_EQ(loaded.error().code(), ErrorCode::kInvalidArgument);
    EXPECT_NE(loaded.error().message().find(kPath), std::string::npos);
    return loaded.error().message();
  };
  EXPECT_NE(why("").find("fewer than 8 bytes"), std::string::npos);
  EXPECT_NE(why(std::string(8, '\xff')).find("over the limit"),
            std::string::npos);
  const std::string whole =
      std::string("\x40\0\0\0\0\0\0\0", 8) +
      "{\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}"
      "            12345678";
  EXPECT_NE(why(whole.substr(0, whole.size() - 1)).find("end at"),
            std::string::npos);
  EXPECT_NE(why(whole.substr(0, 40)).find("in a file of 40"),
            std::string::npos);
}

TEST_F(SafetensorsFiles, ProgressEndsAtTheTotal) {
  std::uint64_t last = 0;
  std::uint64_t all = 0;
  const Progress progress = [&](std::uint64_t done, std::uint64_t total) {
    EXPECT_GT(done, last);
    last = done;
    all = total;
  };
  SaveOptions save;
  save.progress = progress;
  Save({{{"a", NewTensor({4 << 20}, 1)}}, {}}, kPath, save);
  EXPECT_EQ(last, all);
  EXPECT_GT(all, 16u << 20);
  last = 0;
  LoadOptions load;
  load.progress = progress;
  ASSERT_TRUE(LoadSafetensors(engine, kPath, load).Get());
  EXPECT_EQ(last, 16u << 20);
  EXPECT_EQ(last, all);
}

// [S-61]
TEST_F(SafetensorsFiles, ACancelledSaveLeavesNothing) {
  Save({{{"a", NewTensor({10}, 1)}}, {}});
  std::stop_source stop;
  // Parts that end with the stop request alone.
  store->SetPolicy([](const StoreCall& call) -> std::optional<Verdict> {
    if (call.operation == StoreOperation::kUploadPart) return std::nullopt;
    return Verdict::Forward();
  });
  SaveOptions options;
  options.stop = stop.get_token();
  Future<void> saving = SaveSafetensors(
      engine, {{{"a", NewTensor({8 << 20}, 2)}}, {}}, kPath, options);
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
  EXPECT_TRUE(bucket.ListMultipartUploads({}).Get()->uploads.empty());
  const Result<SafetensorsFile> old = LoadSafetensors(engine, kPath).Get();
  ASSERT_TRUE(old);
  EXPECT_EQ(BytesOf(Of(*old, "a")), BytesOf(NewTensor({10}, 1)));
}

TEST_F(SafetensorsFiles, AFailedRangeFailsTheLoad) {
  Save({{{"a", NewTensor({8 << 20}, 2)}}, {}});
  // The first brings the header.
  store->FailCall(store->log().size() + 1, Verdict::FailBefore());
  const Result<SafetensorsFile> loaded = LoadSafetensors(engine, kPath).Get();
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code(), ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace ckptfs
