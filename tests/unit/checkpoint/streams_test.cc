// ReadAhead and StreamSink, on a bucket in memory and on plain files.
#include <cstring>
#include <random>

#include "checkpoint/engine/read_ahead.h"
#include "checkpoint/engine/stream_sink.h"
#include "support/object_bytes.h"
#include "unit/checkpoint/engine_fixture.h"

namespace ckptfs {
namespace {

class StreamsTest : public EngineTest {
 protected:
  std::vector<std::string> Paths() {
    return {"s3://bucket/file", folder + "/file"};
  }
  std::shared_ptr<StreamSink> Create(const std::string& path) {
    return *runtime()
                .Start<std::shared_ptr<StreamSink>>(
                    StreamSink::Create(runtime(), path))
                .Get();
  }
  // The sink lives and ends on the strand.
  void Drop(std::shared_ptr<StreamSink> sink) {
    runtime().strand().Post([sink = std::move(sink)]() mutable {});
  }
  Result<void> Write(const std::string& path, std::string text) {
    std::shared_ptr<StreamSink> sink = Create(path);
    Result<void> done;
    std::span<const std::byte> rest = std::as_bytes(std::span(text));
    const std::uint64_t lent = sink->LendableBytes(rest.size());
    if (lent > 0) {
      done = runtime().Start<void>(sink->WriteLent(rest.first(lent))).Get();
      // It is the caller's again.
      std::fill_n(text.begin(), lent, '\0');
      rest = rest.subspan(lent);
    }
    while (done && !rest.empty()) {
      const auto n =
          std::min<std::uint64_t>(rest.size(), sink->NextPartBytes());
      const std::shared_ptr<std::string> part = sink->TakeBuffer();
      part->assign(reinterpret_cast<const char*>(rest.data()), n);
      done = runtime().Start<void>(sink->Write(part)).Get();
      rest = rest.subspan(n);
    }
    if (done) done = runtime().Start<void>(sink->Commit({})).Get();
    if (!done) {
      EXPECT_TRUE(runtime().Start<void>(sink->Abort()).Get());
    }
    Drop(std::move(sink));
    return done;
  }
  Result<std::unique_ptr<ReadAhead>> Open(const std::string& path) {
    return runtime()
        .Start<std::unique_ptr<ReadAhead>>(ReadAhead::Open(runtime(), path, {}))
        .Get();
  }
  Result<std::string> Read(ReadAhead& file, std::uint64_t at,
                           std::size_t bytes) {
    std::string text(bytes, '\0');
    CKPTFS_ASSIGN_OR_RETURN(
        const std::uint64_t n,
        file.Read(at, std::as_writable_bytes(std::span(text)),
                  [](Future<void> future, const std::stop_source&) {
                    return std::move(future).Get();
                  }));
    text.resize(n);
    return text;
  }
  internal::EngineRuntime& runtime() { return engine.runtime(); }
};

TEST_F(StreamsTest, FilesOfAnySize) {
  for (const std::string& path : Paths()) {
    for (const std::size_t size :
         {0ul, 7ul, 5ul << 20, (5ul << 20) + 1, 47ul << 20}) {
      const std::string text = PatternBytes(size);
      const Result<void> wrote = Write(path, text);
      ASSERT_TRUE(wrote) << wrote.error().ToString();
      Result<std::unique_ptr<ReadAhead>> file = Open(path);
      ASSERT_TRUE(file) << file.error().ToString();
      EXPECT_EQ((*file)->size(), size);
      const Result<std::string> read = Read(**file, 0, size + 5);
      ASSERT_TRUE(read) << read.error().ToString();
      EXPECT_TRUE(*read == text) << path << " " << size;
    }
  }
}

TEST_F(StreamsTest, MemoryIsLentOnlyWhereItKeepsAllConnectionsBusy) {
  std::shared_ptr<StreamSink> sink = Create("s3://bucket/file");
  const std::uint64_t part = sink->NextPartBytes();
  const std::uint64_t least =
      part * static_cast<std::uint64_t>(runtime().options().parts_in_flight);
  EXPECT_EQ(sink->LendableBytes(least - 1), 0u);
  EXPECT_EQ(sink->LendableBytes(least + part - 1), least);
  Drop(std::move(sink));
}

TEST_F(StreamsTest, LentMemoryIsFreeAfterAnError) {
  ASSERT_TRUE(Write("s3://bucket/file", "old"));
  store->FailNext(StoreOperation::kUploadPart, Verdict::FailBefore(), -1);
  EXPECT_FALSE(Write("s3://bucket/file", PatternBytes(60 << 20)));
  store->ClearFaults();
  Result<std::unique_ptr<ReadAhead>> file = Open("s3://bucket/file");
  ASSERT_TRUE(file);
  EXPECT_EQ(*Read(**file, 0, 10), "old");
  EXPECT_TRUE(bucket.ListMultipartUploads({}).Get()->uploads.empty());
}

TEST_F(StreamsTest, AnyPatternOfReadsGivesTheBytes) {
  const std::string text = PatternBytes(40 << 20);
  for (const std::string& path : Paths()) {
    ASSERT_TRUE(Write(path, text));
    Result<std::unique_ptr<ReadAhead>> file = Open(path);
    ASSERT_TRUE(file);
    std::mt19937 random(7);
    std::uint64_t at = 0;
    const std::size_t sizes[] = {1, 30, 4096, 1 << 20, 3 << 20, 9 << 20};
    for (int i = 0; i < 200; ++i) {
      if (random() % 4 == 0) at = random() % (text.size() + 1);
      const std::size_t size = sizes[random() % std::size(sizes)];
      const Result<std::string> read = Read(**file, at, size);
      ASSERT_TRUE(read) << read.error().ToString();
      ASSERT_TRUE(*read == text.substr(at, size)) << path << " " << at;
      at += read->size();
    }
  }
}

TEST_F(StreamsTest, ReadsGoOnAfterAnError) {
  const std::string text = PatternBytes(20 << 20);
  ASSERT_TRUE(Write("s3://bucket/file", text));
  Result<std::unique_ptr<ReadAhead>> file = Open("s3://bucket/file");
  ASSERT_TRUE(file);
  for (const std::size_t size : {1000ul, 10ul << 20}) {
    store->FailNext(StoreOperation::kGet, Verdict::FailBefore(), -1);
    EXPECT_FALSE(Read(**file, 5 << 20, size));
    store->ClearFaults();
    const Result<std::string> read = Read(**file, 5 << 20, size);
    ASSERT_TRUE(read) << read.error().ToString();
    EXPECT_TRUE(*read == text.substr(5 << 20, size));
  }
}

TEST_F(StreamsTest, AFolderIsNoFile) {
  for (const char* path : {"s3://bucket", "s3://bucket/folder/"}) {
    const Result<std::shared_ptr<StreamSink>> sink =
        runtime()
            .Start<std::shared_ptr<StreamSink>>(
                StreamSink::Create(runtime(), path))
            .Get();
    ASSERT_FALSE(sink);
    EXPECT_EQ(sink.error().code(), ErrorCode::kInvalidArgument);
  }
}

TEST_F(StreamsTest, AFileThatIsNotThere) {
  for (const std::string& path : Paths()) {
    const Result<std::unique_ptr<ReadAhead>> file = Open(path);
    ASSERT_FALSE(file);
    EXPECT_EQ(file.error().code(), ErrorCode::kNotFound);
  }
}

}  // namespace
}  // namespace ckptfs
