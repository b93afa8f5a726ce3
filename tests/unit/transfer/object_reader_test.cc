#include "transfer/object_reader.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "store/memory_object_store.h"
#include "support/gated_object_store.h"
#include "support/manual_executor.h"
#include "support/object_bytes.h"

namespace ckptfs {
namespace {

class ObjectReaderTest : public ::testing::Test {
 protected:
  ObjectReaderTest() {
    bucket.PutBytes("k", bytes);
    options.range_bytes = 100;
    options.max_ranges_in_flight = 3;
  }
  ObjectInfo Pinned() {
    HeadRequest head;
    head.key = "k";
    return *bucket.Head(head).Get();
  }
  void Start(const ObjectReader& reader, std::uint64_t offset,
             std::size_t size) {
    buffer = std::make_shared<std::string>(size, '?');
    RequestOptions request;
    request.stop = stop.get_token();
    Spawn<Result<std::uint64_t>>(
        executor, reader.Read(offset, DestinationIn(buffer, 37), request),
        [this](Result<std::uint64_t> r) { out.emplace(std::move(r)); });
  }
  void Drain() {
    do {
      executor.RunAll();
    } while (store.ReleaseAll() > 0);
  }

  const std::string bytes = PatternBytes(1050);
  MemoryObjectStore bucket;
  GatedObjectStore store{bucket};
  ManualExecutor executor;
  ObjectReaderOptions options;
  std::stop_source stop;
  std::shared_ptr<std::string> buffer;
  std::optional<Result<std::uint64_t>> out;
};

TEST_F(ObjectReaderTest, SplitsIntoPinnedRangesWithinTheWindow) {
  const ObjectReader reader(store, executor, Pinned(), options);
  Start(reader, 20, 900);
  EXPECT_EQ(store.pending().size(), 3u);
  for (const StoreCall& c : store.pending()) EXPECT_TRUE(c.has_condition);
  // In any order.
  store.Release(store.pending()[1].id);
  executor.RunAll();
  EXPECT_EQ(store.pending().size(), 3u);
  Drain();
  ASSERT_TRUE(out.has_value() && out->has_value());
  EXPECT_EQ(**out, 900u);
  EXPECT_TRUE(*buffer == bytes.substr(20, 900));
  EXPECT_EQ(store.CountOf(StoreOperation::kGet), 9u);
}

TEST_F(ObjectReaderTest, IsShortOnlyAtTheEnd) {
  store.ForwardAll();
  const ObjectReader reader(store, executor, Pinned(), options);
  Start(reader, 1000, 500);
  executor.RunAll();
  EXPECT_EQ(**out, 50u);
  EXPECT_EQ(buffer->substr(0, 51), bytes.substr(1000) + "?");
  Start(reader, 1050, 10);
  executor.RunAll();
  EXPECT_EQ(**out, 0u);
  EXPECT_EQ(store.CountOf(StoreOperation::kGet), 1u);
}

TEST_F(ObjectReaderTest, AReplacedOrRemovedObjectIsStale) {
  const ObjectReader reader(store, executor, Pinned(), options);
  Start(reader, 0, 1050);
  store.ReleaseNext();
  executor.RunAll();
  bucket.PutBytes("k", PatternBytes(1050));
  Drain();
  EXPECT_EQ(out->error().code(), ErrorCode::kStale);
  DeleteRequest gone;
  gone.key = "k";
  ASSERT_TRUE(bucket.Delete(gone).Get().has_value());
  Start(reader, 0, 10);
  Drain();
  EXPECT_EQ(out->error().code(), ErrorCode::kStale);
}

TEST_F(ObjectReaderTest, AStoreThatIgnoresTheConditionIsNotBelieved) {
  store.ForwardAll();
  ObjectInfo other = Pinned();
  other.etag.value = "";  // no condition is sent ...
  const ObjectReader unpinned(store, executor, other, options);
  Start(unpinned, 0, 10);
  executor.RunAll();
  EXPECT_TRUE(out->has_value());
  // ... and a shorter object than the pinned one is no success.
  other.size = 2000;
  const ObjectReader longer(store, executor, other, options);
  Start(longer, 1000, 90);
  executor.RunAll();
  EXPECT_EQ(out->error().code(), ErrorCode::kDataLoss);
}

TEST_F(ObjectReaderTest, TheFirstErrorStopsTheOtherRanges) {
  const ObjectReader reader(store, executor, Pinned(), options);
  Start(reader, 0, 1050);
  store.ReleaseNext(Verdict::FailBefore());
  executor.RunAll();
  EXPECT_FALSE(out.has_value());  // two more write into the destination
  ASSERT_EQ(store.pending().size(), 2u);
  EXPECT_TRUE(store.pending()[0].cancelled);
  Drain();
  EXPECT_EQ(out->error().code(), ErrorCode::kUnavailable);
  EXPECT_EQ(store.CountOf(StoreOperation::kGet), 3u);
}

TEST_F(ObjectReaderTest, IsCancelledByTheCaller) {
  const ObjectReader reader(store, executor, Pinned(), options);
  Start(reader, 0, 1050);
  stop.request_stop();
  Drain();
  EXPECT_EQ(out->error().code(), ErrorCode::kCancelled);
  EXPECT_EQ(store.CountOf(StoreOperation::kGet), 3u);
}

}  // namespace
}  // namespace ckptfs
