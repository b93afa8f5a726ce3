// InspectFile: what it finds, and how little it fetches for it.
#include "checkpoint/inspect/inspect_file.h"

#include <ckptfs/checkpoint/safetensors.h>
#include <ckptfs/checkpoint/torch_file.h>

#include "checkpoint/io/opened_file.h"
#include "unit/checkpoint/engine_fixture.h"
#include "unit/checkpoint/fixture_file.h"

namespace ckptfs {
namespace {

constexpr std::uint64_t kHead = OpenedFile::kHeadBytes;
constexpr std::uint64_t kTail = 256 << 10;

class InspectFiles : public EngineTest {
 protected:
  Result<FileSummary> Inspect(const std::string& path) {
    internal::EngineRuntime& runtime = engine.runtime();
    return runtime.Start<FileSummary>(InspectFile(runtime, path, {})).Get();
  }
  void Put(const std::string& key, const std::string& bytes) {
    PutRequest put;
    put.key = key;
    put.payload.segments = {std::as_bytes(std::span(bytes))};
    ASSERT_TRUE(bucket.Put(std::move(put)).Get());
  }
  std::uint64_t FetchedSince(std::size_t from) {
    std::uint64_t sum = 0;
    for (const StoreCall& call : store->log()) {
      if (call.id >= from && call.operation == StoreOperation::kGet) {
        sum += call.size;
      }
    }
    return sum;
  }
};

TEST_F(InspectFiles, ATorchFileByHeadAndTail) {
  const auto shared = Filled(32 << 20, 1);
  const Value state = State(
      {{"epoch", 3},
       {"w", Tensor(shared, {8, 1 << 20})},
       {"inner", State({{"part", Tensor(shared, {5}, 100)}, {"lr", 0.5}})}});
  ASSERT_TRUE(SaveTorchFile(engine, state, "s3://bucket/last.ckpt").Get());
  const std::size_t before = store->log().size();
  const Result<FileSummary> summary = Inspect("s3://bucket/last.ckpt");
  ASSERT_TRUE(summary) << summary.error().ToString();
  EXPECT_EQ(FetchedSince(before), kHead + kTail);
  EXPECT_EQ(store->log().size(), before + 2);
  EXPECT_EQ(summary->kind, FileSummary::Kind::kTorchSave);
  ASSERT_EQ(summary->tensors.size(), 2u);
  EXPECT_EQ(summary->tensors[0].name, "w");
  EXPECT_EQ(summary->tensors[0].shape, (std::vector<std::int64_t>{8, 1 << 20}));
  EXPECT_EQ(summary->tensors[0].bytes, 32u << 20);
  EXPECT_EQ(summary->tensors[1].name, "inner.part");
  EXPECT_EQ(summary->tensors[1].bytes, 20u);
  EXPECT_EQ(summary->stored_bytes, 32u << 20);  // one storage
  ASSERT_EQ(summary->others.size(), 2u);
  EXPECT_EQ(summary->others[0],
            std::pair(std::string("epoch"), std::string("3")));
  EXPECT_TRUE(summary->unsafe_globals.empty());
  const std::pair<std::string, std::string> archive = {"archive", "last"};
  EXPECT_EQ(summary->format[0], archive);
}

TEST_F(InspectFiles, FactsOfTorchsOwnFiles) {
  const Result<FileSummary> summary = Inspect(FixturePath("deflated.pt"));
  ASSERT_TRUE(summary) << summary.error().ToString();
  const std::vector<std::pair<std::string, std::string>> facts = {
      {"archive", "archive"},
      {"version", "3"},
      {"format version", "1"},
      {"alignment", "64"},
      {"byte order", "little"}};
  ASSERT_GE(summary->format.size(), facts.size());
  for (std::size_t i = 0; i < facts.size(); ++i) {
    EXPECT_EQ(summary->format[i], facts[i]);
  }
  bool compressed = false;
  for (const auto& [fact, value] : summary->format) {
    if (fact == "compressed records") compressed = true;
  }
  EXPECT_TRUE(compressed);
}

// [S-63]
TEST_F(InspectFiles, UnsafeGlobalsAreNamed) {
  const Result<FileSummary> summary = Inspect(FixturePath("unsafe.pt"));
  ASSERT_TRUE(summary) << summary.error().ToString();
  ASSERT_EQ(summary->unsafe_globals.size(), 1u);
  EXPECT_EQ(summary->unsafe_globals[0].module, "pathlib");
  const Result<FileSummary> safe = Inspect(FixturePath("values.pt"));
  ASSERT_TRUE(safe) << safe.error().ToString();
  EXPECT_TRUE(safe->unsafe_globals.empty());
}

TEST_F(InspectFiles, ASafetensorsFileByItsHead) {
  ASSERT_TRUE(SaveSafetensors(engine,
                              {{{"w", NewTensor({4 << 20}, 1)},
                                {"b", NewTensor({2, 3}, 2)}},
                               {{"format", "pt"}}},
                              "s3://bucket/model")
                  .Get());
  const std::size_t before = store->log().size();
  const Result<FileSummary> summary = Inspect("s3://bucket/model");
  ASSERT_TRUE(summary) << summary.error().ToString();
  EXPECT_EQ(FetchedSince(before), kHead);
  EXPECT_EQ(summary->kind, FileSummary::Kind::kSafetensors);
  ASSERT_EQ(summary->tensors.size(), 2u);
  EXPECT_EQ(summary->tensors[0].name, "b");
  EXPECT_EQ(summary->tensors[0].bytes, 24u);
  EXPECT_EQ(summary->stored_bytes, (16u << 20) + 24);
  EXPECT_EQ(summary->others[0],
            std::pair(std::string("format"), std::string("pt")));
}

TEST_F(InspectFiles, WhatIsNoCheckpointIsAnError) {
  const auto error = [this](const std::string& bytes) {
    Put("x", bytes);
    const Result<FileSummary> summary = Inspect("s3://bucket/x");
    EXPECT_FALSE(summary);
    return summary ? Error(ErrorCode::kInternal, "") : summary.error();
  };
  // Opens the bucket.
  EXPECT_EQ(Inspect("s3://bucket/none").error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(error("").code(), ErrorCode::kInvalidArgument);
  EXPECT_NE(error("plain text, and enough of it").message().find("neither"),
            std::string::npos);
  const std::string whole = FixtureBytes("values.pt");
  EXPECT_NE(
      error(whole.substr(0, whole.size() / 2)).message().find("cut short"),
      std::string::npos);
  EXPECT_EQ(error(FixtureBytes("legacy.pt")).code(), ErrorCode::kUnsupported);
  EXPECT_NE(Inspect(folder).error().message().find("without .metadata"),
            std::string::npos);
}

}  // namespace
}  // namespace ckptfs
