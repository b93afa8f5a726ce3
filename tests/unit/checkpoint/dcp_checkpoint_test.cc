// SaveDcp and LoadDcp: requests, bytes, failures, ranks.
#include <ckptfs/checkpoint/dcp/checkpoint.h>
#include <ckptfs/checkpoint/dcp/metadata.h>
#include <ckptfs/checkpoint/dcp/sharded_tensor.h>

#include <cstring>
#include <filesystem>
#include <stop_token>

#include "checkpoint/io/opened_file.h"
#include "support/in_process_ranks.h"
#include "unit/checkpoint/engine_fixture.h"

namespace ckptfs {
namespace {

constexpr char kPath[] = "s3://bucket/run";

class DcpCheckpoint : public EngineTest {
 protected:
  void Save(const Value& state, DcpSaveOptions options = {},
            const std::string& path = kPath) {
    const Result<void> saved = SaveDcp(engine, state, path, options).Get();
    ASSERT_TRUE(saved) << saved.error().ToString();
  }
  Value Load(DcpLoadOptions options = {}, const std::string& path = kPath) {
    const Result<Value> loaded = LoadDcp(engine, path, options).Get();
    EXPECT_TRUE(loaded) << loaded.error().ToString();
    return loaded ? *loaded : Value(Dict());
  }
  static TensorView At(const Value& state, std::string_view name) {
    const Value* found = state.AsDict()->Find(name);
    if (found == nullptr || found->AsTensor() == nullptr) {
      ADD_FAILURE() << "no tensor " << name;
      return NewTensor({0}, 0);
    }
    return *found->AsTensor();
  }
  std::vector<std::string> Keys() {
    std::vector<std::string> keys;
    const Result<ListResult> listed = bucket.List({}).Get();
    for (const ObjectInfo& object : listed->objects) keys.push_back(object.key);
    return keys;
  }
  // Calls of that kind since `from`.
  std::vector<StoreCall> Calls(StoreOperation operation, std::size_t from = 0) {
    std::vector<StoreCall> calls;
    for (const StoreCall& call : store->log()) {
      if (call.id >= from && call.operation == operation) calls.push_back(call);
    }
    return calls;
  }
  std::uint64_t Fetched(std::size_t from) {
    std::uint64_t sum = 0;
    for (const StoreCall& call : Calls(StoreOperation::kGet, from)) {
      sum += call.size;
    }
    return sum;
  }
  // A view of rows [first, first + count) as the only shard.
  static Value RowsOf(const TensorView& whole, std::int64_t first,
                      std::int64_t count) {
    ShardedTensor sharded;
    sharded.dtype = whole.dtype;
    sharded.shape = whole.shape;
    TensorShard shard;
    shard.offsets = DcpSizes(whole.shape.size(), 0);
    shard.offsets[0] = first;
    shard.tensor = whole;
    shard.tensor.shape[0] = count;
    shard.tensor.offset += first * whole.strides[0];
    sharded.shards.push_back(shard);
    return ShardedTensorValue(sharded);
  }
};

TEST_F(DcpCheckpoint, WhatWasSavedIsLoaded) {
  for (const std::string& path : {std::string(kPath), folder + "/deep/run"}) {
    const TensorView small = NewTensor({30, 10}, 1);
    const TensorView large = NewTensor({5, 1 << 20}, 2);  // several parts
    TensorView turned = NewTensor({20, 30}, 3);
    turned.shape = {30, 20};
    turned.strides = {1, 30};
    DcpSaveOptions options;
    options.thread_count = 2;
    Save(State({{"small", small},
                {"large", large},
                {"turned", turned},
                {"list", Value(List{{Value(1), Value(small)}})},
                {"epoch", 3}}),
         options, path);
    DcpLoadOptions load;
    load.load.verify_crc = true;
    const Value loaded = Load(load, path);
    EXPECT_EQ(BytesOf(At(loaded, "small")), BytesOf(small));
    EXPECT_EQ(BytesOf(At(loaded, "large")), BytesOf(large));
    EXPECT_EQ(loaded.AsDict()->Find("epoch")->AsInt(), 3);
    const List* list = loaded.AsDict()->Find("list")->AsList();
    ASSERT_NE(list, nullptr);
    EXPECT_EQ(list->items[0].AsInt(), 1);
    EXPECT_EQ(BytesOf(*list->items[1].AsTensor()), BytesOf(small));
    const auto* from =
        reinterpret_cast<const float*>(turned.storage->memory.data());
    const TensorView straight = At(loaded, "turned");
    const auto* to = reinterpret_cast<const float*>(straight.bytes().data());
    for (int i = 0; i < 30; ++i) {
      for (int j = 0; j < 20; ++j) {
        ASSERT_EQ(std::memcmp(&from[j * 30 + i], &to[i * 20 + j], 4), 0);
      }
    }
  }
}

// [S-67]
TEST_F(DcpCheckpoint, ASaveIsOneRequestAFileAndTheMetadataLast) {
  Save(State({{"a", NewTensor({100}, 1)}, {"epoch", 1}}));
  // Whether there is a checkpoint, its data, its metadata.
  ASSERT_EQ(store->log().size(), 3u);
  EXPECT_EQ(store->log()[0].operation, StoreOperation::kHead);
  EXPECT_EQ(store->log()[1].key, "run/__0_0.distcp");
  EXPECT_EQ(store->log()[1].operation, StoreOperation::kPut);
  EXPECT_EQ(store->log()[2].key, "run/.metadata");
  EXPECT_EQ(store->log()[2].operation, StoreOperation::kPut);
  // All of it lies in the first bytes of the file.
  Load();
  EXPECT_EQ(Calls(StoreOperation::kGet).size(), 2u);
}

TEST_F(DcpCheckpoint, APartialLoadMovesFewBytes) {
  const TensorView whole = NewTensor({4000, 1000}, 5);  // 16 MB
  Save(State({{"first", NewTensor({1 << 20}, 1)},
              {"w", whole},
              {"last", NewTensor({1 << 20}, 2)}}));
  TensorView into = NewTensor({4000, 1000}, 0);
  const std::size_t before = store->log().size();
  const Result<DcpLoadReport> loaded =
      LoadDcp(engine, kPath, State({{"w", RowsOf(into, 1234, 40)}})).Get();
  ASSERT_TRUE(loaded) << loaded.error().ToString();
  EXPECT_EQ(loaded->unexpected, (std::vector<std::string>{"first", "last"}));
  EXPECT_EQ(BytesOf(into).substr(1234 * 4000, 40 * 4000),
            BytesOf(whole).substr(1234 * 4000, 40 * 4000));
  // 1 % of the tensor; the metadata's buffer of 1 MiB is not data.
  std::uint64_t data = 0;
  for (const StoreCall& call : Calls(StoreOperation::kGet, before)) {
    if (call.key.ends_with(".distcp")) data += call.size;
  }
  EXPECT_LE(data, 2u * 16'000'000 / 100);
  EXPECT_GE(data, 160'000u);
}

TEST_F(DcpCheckpoint, ColumnsAndStridesComeThroughBoundedCopies) {
  const TensorView whole = NewTensor({300, 700}, 6);
  Save(State({{"w", whole}}));
  // Columns 100 to 400, into a transposed tensor.
  TensorView into = NewTensor({300, 300}, 0);
  into.strides = {1, 300};
  ShardedTensor sharded;
  sharded.shape = {300, 700};
  sharded.shards.push_back({{0, 100}, into});
  ASSERT_TRUE(
      LoadDcp(engine, kPath, State({{"w", ShardedTensorValue(sharded)}}))
          .Get());
  const auto* from = reinterpret_cast<const float*>(whole.bytes().data());
  const auto* to = reinterpret_cast<const float*>(into.storage->memory.data());
  for (int i = 0; i < 300; ++i) {
    for (int j = 0; j < 300; ++j) {
      ASSERT_EQ(std::memcmp(&from[i * 700 + 100 + j], &to[j * 300 + i], 4), 0);
    }
  }
}

TEST_F(DcpCheckpoint, AFilterFetchesOnlyWhatItNames) {
  Save(State({{"large", NewTensor({4 << 20}, 1)},
              {"small", NewTensor({1000}, 2)},
              {"epoch", 4}}));
  DcpLoadOptions options;
  options.load.filter = [](std::string_view name) { return name == "small"; };
  const std::size_t before = store->log().size();
  const Value loaded = Load(options);
  EXPECT_EQ(BytesOf(At(loaded, "small")), BytesOf(NewTensor({1000}, 2)));
  EXPECT_TRUE(At(loaded, "large").storage->memory.empty());
  EXPECT_EQ(loaded.AsDict()->Find("epoch"), nullptr);
  EXPECT_LT(Fetched(before), OpenedFile::kHeadBytes + 20'000);
}

TEST_F(DcpCheckpoint, AMismatchTouchesNothing) {
  Save(State(
      {{"a", NewTensor({10}, 1)}, {"b", NewTensor({10}, 2)}, {"epoch", 1}}));
  TensorView other_type = NewTensor({10}, 0);
  other_type.dtype = DType::kInt32;
  const std::vector<Value> states = {
      State({{"a", NewTensor({10}, 0)}, {"b", NewTensor({11}, 0)}}),
      State({{"a", NewTensor({10}, 0)}, {"b", other_type}}),
      State({{"a", NewTensor({10}, 0)}, {"b", 3}}),
      State({{"a", NewTensor({10}, 0)}, {"epoch", NewTensor({1}, 0)}}),
      State({{"a", NewTensor({10}, 0)}, {"c", NewTensor({10}, 0)}})};
  for (const Value& state : states) {
    const std::string before = BytesOf(At(state, "a"));
    const Result<DcpLoadReport> loaded = LoadDcp(engine, kPath, state).Get();
    ASSERT_FALSE(loaded);
    EXPECT_EQ(loaded.error().code(), ErrorCode::kInvalidArgument);
    EXPECT_EQ(BytesOf(At(state, "a")), before);
  }
  DcpLoadOptions partial;
  partial.allow_partial_load = true;
  const Result<DcpLoadReport> loaded =
      LoadDcp(engine, kPath, states.back(), partial).Get();
  ASSERT_TRUE(loaded) << loaded.error().ToString();
  EXPECT_EQ(loaded->missing, std::vector<std::string>{"c"});
  EXPECT_EQ(loaded->unexpected, (std::vector<std::string>{"b", "epoch"}));
  EXPECT_EQ(BytesOf(At(states.back(), "a")), BytesOf(NewTensor({10}, 1)));
}

TEST_F(DcpCheckpoint, ValuesAreReplacedWhereTheyAre) {
  Dict numbered;
  numbered.Assign(0, "zero");
  Save(State({{"numbered", Value(numbered)},
              {"list", Value(List{{State({{"lr", 0.5}})}})}}));
  Dict into;
  into.Assign(0, "other");
  const Value state = State({{"numbered", Value(into)},
                             {"list", Value(List{{State({{"lr", 0.1}})}})}});
  ASSERT_TRUE(LoadDcp(engine, kPath, state).Get());
  const Dict* loaded = state.AsDict()->Find("numbered")->AsDict();
  ASSERT_EQ(loaded->size(), 1u);
  EXPECT_EQ(*loaded->items()[0].second.AsString(), "zero");
  const List* list = state.AsDict()->Find("list")->AsList();
  EXPECT_EQ(list->items[0].AsDict()->Find("lr")->AsDouble(), 0.5);
}

TEST_F(DcpCheckpoint, RanksSaveTheirShardsAndReplicasOnce) {
  for (const int ranks : {2, 4}) {
    const std::string path = kPath + std::to_string(ranks);
    const TensorView whole = NewTensor({10, 50'000}, 7);
    const TensorView replica = NewTensor({1000}, 8);
    InProcessRanks all(ranks);
    std::vector<Future<void>> saves;
    for (int rank = 0; rank < ranks; ++rank) {
      DcpSaveOptions options;
      options.coordination = &all.rank(rank);
      const int first = 10 * rank / ranks;
      const int end = 10 * (rank + 1) / ranks;
      saves.push_back(SaveDcp(engine,
                              State({{"w", RowsOf(whole, first, end - first)},
                                     {"replica", replica}}),
                              path, options));
    }
    for (Future<void>& save : saves) {
      const Result<void> saved = std::move(save).Get();
      ASSERT_TRUE(saved) << saved.error().ToString();
    }
    DcpLoadOptions alone;
    const Value loaded = Load(alone, path);
    EXPECT_EQ(BytesOf(At(loaded, "w")), BytesOf(whole));
    EXPECT_EQ(BytesOf(At(loaded, "replica")), BytesOf(replica));
    // Three ranks load what others have cut in another way.
    InProcessRanks readers(3);
    TensorView into = NewTensor({10, 50'000}, 0);
    std::vector<Future<DcpLoadReport>> loads;
    for (int rank = 0; rank < 3; ++rank) {
      DcpLoadOptions options;
      options.coordination = &readers.rank(rank);
      loads.push_back(LoadDcp(
          engine, path,
          State({{"w", RowsOf(into, rank * 4, rank == 2 ? 2 : 4)}}), options));
    }
    for (Future<DcpLoadReport>& load : loads) {
      ASSERT_TRUE(std::move(load).Get());
    }
    EXPECT_EQ(BytesOf(into), BytesOf(whole));
  }
}

TEST_F(DcpCheckpoint, OneRanksErrorIsThatOfAll) {
  InProcessRanks all(2);
  const TensorView whole = NewTensor({10, 10}, 1);
  std::vector<Future<void>> saves;
  for (int rank = 0; rank < 2; ++rank) {
    DcpSaveOptions options;
    options.coordination = &all.rank(rank);
    // Rows 4 and 5 are nobody's.
    saves.push_back(SaveDcp(engine, State({{"w", RowsOf(whole, rank * 6, 4)}}),
                            kPath, options));
  }
  for (Future<void>& save : saves) {
    const Result<void> saved = std::move(save).Get();
    ASSERT_FALSE(saved);
    EXPECT_EQ(saved.error().code(), ErrorCode::kInvalidArgument);
    EXPECT_NE(saved.error().message().find("w: "), std::string::npos);
  }
  EXPECT_TRUE(Keys().empty());
}

// [S-67]
TEST_F(DcpCheckpoint, WhatFailsLeavesNothing) {
  InProcessRanks all(2);
  Save(State({{"warm", 1}}), {}, "s3://bucket/other");
  const std::vector<std::string> before = Keys();
  store->FailNext(StoreOperation::kPut, Verdict::FailBefore());
  std::vector<Future<void>> saves;
  for (int rank = 0; rank < 2; ++rank) {
    DcpSaveOptions options;
    options.coordination = &all.rank(rank);
    saves.push_back(SaveDcp(
        engine, State({{"w" + std::to_string(rank), NewTensor({100}, 1)}}),
        kPath, options));
  }
  for (Future<void>& save : saves) {
    const Result<void> saved = std::move(save).Get();
    ASSERT_FALSE(saved);
    EXPECT_EQ(saved.error().code(), ErrorCode::kUnavailable);
    EXPECT_NE(saved.error().message().find("rank "), std::string::npos);
  }
  EXPECT_EQ(Keys(), before);
}

TEST_F(DcpCheckpoint, OverwriteKeepsTheOldOneUntilTheEnd) {
  const TensorView old = NewTensor({2000, 1000}, 1);
  const TensorView fresh = NewTensor({2000, 1000}, 2);
  // Every store call of the second save fails once, before or after it has
  // taken effect.
  for (const bool effect : {false, true}) {
    for (std::uint64_t nth = 0;; ++nth) {
      const std::string path =
          kPath + std::to_string(nth) + (effect ? "after" : "before");
      Save(State({{"w", old}}), {}, path);
      store->FailCall(store->log().size() + nth,
                      effect ? Verdict::LoseReply() : Verdict::FailBefore());
      const std::size_t from = store->log().size();
      DcpSaveOptions options;
      options.thread_count = 2;
      const Result<void> saved =
          SaveDcp(engine, State({{"w", fresh}, {"x", 1}}), path, options).Get();
      const bool reached = store->log().size() > from + nth;
      store->ClearFaults();
      const Value loaded = Load({}, path);
      const std::string found = BytesOf(At(loaded, "w"));
      const bool is_new = loaded.AsDict()->Find("x") != nullptr;
      EXPECT_EQ(found, BytesOf(is_new ? fresh : old)) << nth << effect;
      if (saved) {
        EXPECT_TRUE(is_new);
      }
      // A request that never arrived has changed nothing.
      if (!saved && !effect) {
        EXPECT_FALSE(is_new) << nth << saved.error().ToString();
      }
      if (!reached) break;
      ASSERT_LT(nth, 100u);
    }
  }
}

TEST_F(DcpCheckpoint, WithoutOverwriteAnOlderOneStays) {
  for (const std::string& path : {std::string(kPath), folder + "/run"}) {
    Save(State({{"epoch", 1}}), {}, path);
    DcpSaveOptions options;
    options.overwrite = false;
    const Result<void> saved =
        SaveDcp(engine, State({{"epoch", 2}}), path, options).Get();
    ASSERT_FALSE(saved);
    EXPECT_EQ(saved.error().code(), ErrorCode::kAlreadyExists);
    EXPECT_EQ(Load({}, path).AsDict()->Find("epoch")->AsInt(), 1);
    Save(State({{"epoch", 3}}), options, path + "/other");
  }
  // The metadata were written on the condition that there are none.
  EXPECT_TRUE(Calls(StoreOperation::kPut).back().has_condition);
}

TEST_F(DcpCheckpoint, AStopLeavesNothing) {
  std::stop_source stop;
  stop.request_stop();
  DcpSaveOptions options;
  options.stop = stop.get_token();
  const Result<void> saved =
      SaveDcp(engine, State({{"w", NewTensor({4 << 20}, 1)}}), kPath, options)
          .Get();
  ASSERT_FALSE(saved);
  EXPECT_EQ(saved.error().code(), ErrorCode::kCancelled);
  EXPECT_TRUE(Keys().empty());
}

TEST_F(DcpCheckpoint, ProgressEndsAtTheTotal) {
  std::uint64_t saved = 0;
  std::uint64_t to_save = 0;
  DcpSaveOptions save;
  save.thread_count = 3;
  save.progress = [&](std::uint64_t done, std::uint64_t total) {
    EXPECT_GE(done, saved);
    saved = done;
    to_save = total;
  };
  Save(State({{"a", NewTensor({3 << 20}, 1)},
              {"b", NewTensor({1 << 20}, 2)},
              {"c", NewTensor({100}, 3)}}),
       save);
  EXPECT_GT(to_save, 16u << 20);
  EXPECT_EQ(saved, to_save);
  std::uint64_t loaded = 0;
  DcpLoadOptions load;
  load.load.progress = [&](std::uint64_t done, std::uint64_t total) {
    loaded = done;
    EXPECT_EQ(total, (4u << 20) * 4 + 400);
  };
  Load(load);
  EXPECT_EQ(loaded, (4u << 20) * 4 + 400);
}

TEST_F(DcpCheckpoint, DamageIsNamed) {
  Save(State({{"w", NewTensor({100'000}, 1)}}));
  GetRequest get;
  get.key = "run/__0_0.distcp";
  HeadRequest head;
  head.key = get.key;
  const std::uint64_t size = bucket.Head(head).Get()->size;
  auto bytes = std::make_shared<std::string>(size, '\0');
  get.destination.segments = {std::as_writable_bytes(std::span(*bytes))};
  get.destination.owner = bytes;
  ASSERT_TRUE(bucket.Get(get).Get());
  const auto put = [&](std::string text) {
    PutRequest request;
    request.key = get.key;
    const auto owner = std::make_shared<std::string>(std::move(text));
    request.payload.segments = {std::as_bytes(std::span(*owner))};
    request.payload.owner = owner;
    ASSERT_TRUE(bucket.Put(std::move(request)).Get());
  };
  DcpLoadOptions options;
  options.load.verify_crc = true;
  std::string flipped = *bytes;
  flipped[200'000] ^= 1;
  put(flipped);
  EXPECT_EQ(LoadDcp(engine, kPath, options).Get().error().code(),
            ErrorCode::kDataLoss);
  put(bytes->substr(0, size - 1));
  const Result<Value> cut = LoadDcp(engine, kPath).Get();
  ASSERT_FALSE(cut);
  EXPECT_EQ(cut.error().code(), ErrorCode::kInvalidArgument);
  EXPECT_NE(cut.error().message().find("w: "), std::string::npos);
  std::string headless = *bytes;
  std::memset(headless.data() + size - 200, 0, 200);
  put(headless);
  EXPECT_EQ(LoadDcp(engine, kPath).Get().error().code(),
            ErrorCode::kInvalidArgument);
}

TEST_F(DcpCheckpoint, TransformsAreRefusedByName) {
  DcpMetadata metadata;
  metadata.items.emplace_back("w", DcpBytesMetadata());
  DcpStorageInfo info;
  info.relative_path = "__0_0.distcp";
  info.length = 10;
  info.transform_descriptors = {"stream.zstd/1"};
  metadata.storage_data[{"w", {}, {}}] = info;
  const auto bytes = std::make_shared<std::string>(*WriteDcpMetadata(metadata));
  PutRequest put;
  put.key = "run/.metadata";
  put.payload.segments = {std::as_bytes(std::span(*bytes))};
  put.payload.owner = bytes;
  ASSERT_TRUE(bucket.Put(std::move(put)).Get());
  const Result<Value> loaded = LoadDcp(engine, kPath).Get();
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code(), ErrorCode::kUnsupported);
  EXPECT_NE(loaded.error().message().find("stream.zstd/1"), std::string::npos);
}

TEST_F(DcpCheckpoint, NamesMustBeUnique) {
  const Result<void> saved =
      SaveDcp(engine, State({{"a.b", 1}, {"a", State({{"b", 2}})}}), kPath)
          .Get();
  ASSERT_FALSE(saved);
  EXPECT_EQ(saved.error().code(), ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace ckptfs
