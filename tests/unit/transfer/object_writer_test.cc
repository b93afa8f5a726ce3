#include "transfer/object_writer.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "store/memory_object_store.h"
#include "support/gated_object_store.h"
#include "support/manual_executor.h"
#include "support/object_bytes.h"

namespace ckptfs {
namespace {

constexpr int kMaxPartsForTest = 10'000;

MemoryObjectStoreOptions SmallParts() {
  MemoryObjectStoreOptions o;
  o.min_part_bytes = 1;
  return o;
}

class ObjectWriterTest : public ::testing::Test {
 protected:
  void MakeWriter(int window = 8) {
    ObjectWriterOptions options;
    options.max_parts_in_flight = window;
    writer = std::make_unique<ObjectWriter>(store, executor, options);
  }
  void Send(int part, const std::string& text) {
    writer->UploadPart(part, PayloadOf(text), [this](Result<CompletedPart> r) {
      parts.push_back(std::move(r));
    });
  }
  void StartComplete(WriteCondition condition = {}) {
    Spawn<Result<ObjectInfo>>(
        executor, writer->Complete(std::move(condition)),
        [this](Result<ObjectInfo> r) { completed.emplace(std::move(r)); });
  }
  void StartAbort() {
    Spawn<Result<void>>(executor, writer->Abort(), [this](Result<void> r) {
      aborted.emplace(std::move(r));
    });
  }
  // Lets the store answer everything, and everything that follows.
  void Drain() {
    do {
      executor.RunAll();
    } while (store.ReleaseAll() > 0);
    executor.RunAll();
  }

  MemoryObjectStore bucket{SmallParts()};
  GatedObjectStore store{bucket};
  ManualExecutor executor;
  std::unique_ptr<ObjectWriter> writer;
  std::vector<Result<CompletedPart>> parts;
  std::optional<Result<ObjectInfo>> completed;
  std::optional<Result<void>> aborted;
};

TEST_F(ObjectWriterTest, PublishesPartsInTheirOrderNotThatOfArrival) {
  MakeWriter();
  ObjectAttributes attributes;
  attributes.metadata["file-mtime"] = "1";
  attributes.content_type = "x/y";
  writer->Begin("k", attributes);
  EXPECT_TRUE(writer->begun());
  EXPECT_EQ(writer->bound_key(), "k");
  EXPECT_TRUE(store.log().empty());  // opened by the first part
  Send(2, "world");
  Send(1, "hello ");
  EXPECT_EQ(writer->parts_pending(), 2);
  StartComplete();
  Drain();
  ASSERT_TRUE(completed.has_value() && completed->has_value());
  const ObjectInfo& info = **completed;
  EXPECT_EQ(bucket.Snapshot().at("k"), "hello world");
  EXPECT_EQ(info.key, "k");
  EXPECT_EQ(info.size, 11u);
  HeadRequest head;
  head.key = "k";
  const ObjectInfo there = *bucket.Head(head).Get();
  EXPECT_EQ(info.etag, there.etag);
  EXPECT_EQ(info.metadata, there.metadata);
  EXPECT_EQ(there.metadata.at("file-mtime"), "1");
  EXPECT_EQ(there.metadata.at(kNonceMetadataName).size(), 32u);
  EXPECT_EQ(parts.size(), 2u);
  EXPECT_TRUE(bucket.OpenUploads().empty());
  // Nothing follows a success.
  StartAbort();
  writer.reset();
  Drain();
  EXPECT_TRUE(aborted->has_value());
  EXPECT_EQ(store.CountOf(StoreOperation::kAbortMultipart), 0u);
  EXPECT_EQ(bucket.Snapshot().at("k"), "hello world");
}

TEST_F(ObjectWriterTest, KeepsToTheWindowInOrderOfArrival) {
  MakeWriter(2);
  writer->Begin("k", {});
  for (int n = 1; n <= 4; ++n) Send(n, "x");
  ASSERT_TRUE(store.ReleaseNext(StoreOperation::kCreateMultipart));
  executor.RunAll();
  ASSERT_EQ(store.pending().size(), 2u);
  EXPECT_EQ(store.pending()[0].part_number, 1);
  EXPECT_EQ(store.pending()[1].part_number, 2);
  EXPECT_EQ(writer->parts_pending(), 4);
  store.Release(store.pending()[1].id);
  executor.RunAll();
  ASSERT_EQ(store.pending().size(), 2u);
  EXPECT_EQ(store.pending()[1].part_number, 3);
  EXPECT_EQ(writer->parts_pending(), 3);
  StartComplete();
  Drain();
  EXPECT_TRUE(completed->has_value());
}

TEST_F(ObjectWriterTest, APartSentAgainWaitsForItsFirstTransfer) {
  MakeWriter();
  writer->Begin("k", {});
  Send(1, "old");
  Send(1, "new");
  Send(2, "!");
  store.ReleaseNext();
  executor.RunAll();
  ASSERT_EQ(store.pending().size(), 2u);  // one of part 1, and part 2
  EXPECT_EQ(store.pending()[0].part_number, 1);
  EXPECT_EQ(store.pending()[1].part_number, 2);
  StartComplete();
  Drain();
  ASSERT_TRUE(completed->has_value());
  EXPECT_EQ(bucket.Snapshot().at("k"), "new!");
  EXPECT_EQ(parts.size(), 3u);
}

TEST_F(ObjectWriterTest, CallbacksNeverRunInsideTheCall) {
  store.ForwardAll();
  MakeWriter();
  writer->Begin("k", {});
  Send(1, "x");
  EXPECT_TRUE(parts.empty());
  executor.RunAll();
  EXPECT_EQ(parts.size(), 1u);
}

TEST_F(ObjectWriterTest, ThousandsOfPartsDoNotGrowTheStack) {
  store.ForwardAll();
  MakeWriter();
  writer->Begin("k", {});
  for (int n = 1; n <= kMaxPartsForTest; ++n) Send(n, "x");
  StartComplete();
  executor.RunAll();
  ASSERT_TRUE(completed->has_value());
  EXPECT_EQ((*completed)->size, static_cast<std::uint64_t>(kMaxPartsForTest));
}

TEST_F(ObjectWriterTest, CopiesPartsFromOtherObjects) {
  store.ForwardAll();
  const ETag source = bucket.PutBytes("src", "0123456789").etag;
  MakeWriter();
  writer->Begin("k", {});
  writer->CopyPart(1, "src", source, 2, 4, nullptr);
  Send(2, "tail");
  StartComplete();
  executor.RunAll();
  ASSERT_TRUE(completed->has_value());
  EXPECT_EQ(bucket.Snapshot().at("k"), "2345tail");
}

TEST_F(ObjectWriterTest, TheFirstPartErrorFailsTheWriterAndAborts) {
  bucket.PutBytes("k", "old");
  MakeWriter(2);
  writer->Begin("k", {});
  for (int n = 1; n <= 3; ++n) Send(n, "x");
  store.ReleaseNext();
  executor.RunAll();
  store.Release(store.pending()[0].id,
                Verdict::FailBefore(Error(ErrorCode::kPermissionDenied, "no")));
  executor.RunAll();
  // The queued part never starts, the one on the wire is told to stop, and the
  // abort waits for it.
  ASSERT_EQ(store.pending().size(), 1u);
  EXPECT_TRUE(store.pending()[0].cancelled);
  EXPECT_EQ(parts.size(), 2u);
  Drain();
  EXPECT_EQ(parts.size(), 3u);
  for (const auto& p : parts) {
    EXPECT_EQ(p.error().code(), ErrorCode::kPermissionDenied);
  }
  EXPECT_TRUE(bucket.OpenUploads().empty());
  Send(4, "late");
  StartComplete();
  Drain();
  EXPECT_EQ(parts.back().error().code(), ErrorCode::kPermissionDenied);
  EXPECT_EQ(completed->error().code(), ErrorCode::kPermissionDenied);
  EXPECT_EQ(bucket.Snapshot().at("k"), "old");
}

TEST_F(ObjectWriterTest, APartThatLandsBehindTheAbortIsFound) {
  MakeWriter();
  writer->Begin("k", {});
  Send(1, "x");
  store.ReleaseNext();
  executor.RunAll();
  StartAbort();
  executor.RunAll();
  // The part ends as cancelled, yet lands; the first abort gets lost.
  store.ReleaseNext(StoreOperation::kUploadPart, Verdict::CancelAfter());
  executor.RunAll();
  store.ReleaseNext(StoreOperation::kAbortMultipart, Verdict::FailBefore());
  executor.RunAll();
  ASSERT_EQ(store.pending().size(), 1u);
  EXPECT_EQ(store.pending()[0].operation, StoreOperation::kListParts);
  Drain();
  ASSERT_TRUE(aborted.has_value());
  EXPECT_TRUE(aborted->has_value());
  EXPECT_EQ(store.CountOf(StoreOperation::kAbortMultipart), 2u);
  EXPECT_TRUE(bucket.OpenUploads().empty());
}

TEST_F(ObjectWriterTest, AnAbortThatNeverSucceedsNamesTheUpload) {
  store.SetPolicy([](const StoreCall& c) -> std::optional<Verdict> {
    return c.operation == StoreOperation::kAbortMultipart
               ? Verdict::FailBefore()
               : Verdict::Forward();
  });
  MakeWriter();
  writer->Begin("k", {});
  Send(1, "x");
  StartAbort();
  StartAbort();
  executor.RunAll();
  ASSERT_TRUE(aborted.has_value() && !aborted->has_value());
  EXPECT_NE(aborted->error().message().find(bucket.OpenUploads()[0].upload_id),
            std::string::npos);
  // Bounded, and once for all callers.
  EXPECT_EQ(store.CountOf(StoreOperation::kAbortMultipart), 5u);
}

TEST_F(ObjectWriterTest, AFailedConditionAbortsTheUpload) {
  store.ForwardAll();
  bucket.PutBytes("k", "theirs");
  MakeWriter();
  writer->Begin("k", {});
  Send(1, "mine");
  WriteCondition absent;
  absent.if_none_match = true;
  StartComplete(absent);
  executor.RunAll();
  EXPECT_EQ(completed->error().code(), ErrorCode::kPreconditionFailed);
  EXPECT_EQ(bucket.Snapshot().at("k"), "theirs");
  EXPECT_TRUE(bucket.OpenUploads().empty());
}

TEST_F(ObjectWriterTest, ALostCreateLeavesNoUpload) {
  store.SetPolicy([](const StoreCall& c) -> std::optional<Verdict> {
    return c.id == 0 ? Verdict::LoseReply() : Verdict::Forward();
  });
  MakeWriter();
  writer->Begin("k", {});
  Send(1, "x");
  StartComplete();
  executor.RunAll();
  EXPECT_EQ(completed->error().code(), ErrorCode::kUnavailable);
  EXPECT_TRUE(bucket.OpenUploads().empty());
}

TEST_F(ObjectWriterTest, ALostCreateSparesTheUploadsOfOthers) {
  const auto create = [&](const std::string& key) {
    CreateMultipartRequest r;
    r.key = key;
    return *bucket.CreateMultipart(std::move(r)).Get();
  };
  const MultipartUpload busy = create("k");
  UploadPartRequest part;
  part.upload = busy;
  part.part_number = 1;
  part.payload = PayloadOf("theirs");
  bucket.UploadPart(std::move(part)).Get().value();
  create("k2");  // another key with the same beginning
  store.SetPolicy([](const StoreCall& c) -> std::optional<Verdict> {
    return c.id == 0 ? Verdict::LoseReply() : Verdict::Forward();
  });
  MakeWriter();
  writer->Begin("k", {});
  Send(1, "x");
  executor.RunAll();
  EXPECT_EQ(bucket.OpenUploads().size(), 2u);
  EXPECT_EQ(bucket.OpenUploads()[0].upload_id, busy.upload_id);
}

TEST_F(ObjectWriterTest, CompleteWithoutPartsIsRefused) {
  MakeWriter();
  writer->Begin("k", {});
  StartComplete();
  Drain();
  EXPECT_EQ(completed->error().code(), ErrorCode::kInvalidArgument);
  EXPECT_TRUE(store.log().empty());
}

TEST_F(ObjectWriterTest, PutWholeCarriesANonce) {
  store.ForwardAll();
  WriteCondition absent;
  absent.if_none_match = true;
  for (const bool conditional : {true, false}) {
    MakeWriter();
    Spawn<Result<ObjectInfo>>(
        executor,
        writer->PutWhole("k", PayloadOf("small"), {},
                         conditional ? absent : WriteCondition{}),
        [this](Result<ObjectInfo> r) { completed.emplace(std::move(r)); });
    executor.RunAll();
    ASSERT_TRUE(completed->has_value());
    EXPECT_EQ((*completed)->size, 5u);
    EXPECT_EQ((*completed)->metadata.count(kNonceMetadataName), 1u);
  }
  MakeWriter();
  Spawn<Result<ObjectInfo>>(
      executor, writer->PutWhole("k", PayloadOf("late"), {}, absent),
      [this](Result<ObjectInfo> r) { completed.emplace(std::move(r)); });
  executor.RunAll();
  EXPECT_EQ(completed->error().code(), ErrorCode::kPreconditionFailed);
  EXPECT_EQ(bucket.Snapshot().at("k"), "small");
}

TEST_F(ObjectWriterTest, DestroyedWithACompleteOnTheWire) {
  bucket.PutBytes("k", "old");
  MakeWriter();
  writer->Begin("k", {});
  Send(1, "new");
  StartComplete();
  for (int i = 0; i < 2; ++i) {
    store.ReleaseNext();
    executor.RunAll();
  }
  ASSERT_EQ(store.pending()[0].operation, StoreOperation::kCompleteMultipart);
  writer.reset();
  Drain();
  EXPECT_EQ(completed->error().code(), ErrorCode::kCancelled);
  EXPECT_EQ(bucket.Snapshot().at("k"), "old");
  EXPECT_TRUE(bucket.OpenUploads().empty());
}

TEST_F(ObjectWriterTest, MemoryIsHeldUntilTheStoreLetsGo) {
  MakeWriter();
  writer->Begin("k", {});
  Payload payload = PayloadOf("x");
  const std::weak_ptr<const void> owner = payload.owner;
  writer->UploadPart(1, std::move(payload), nullptr);
  writer.reset();
  executor.RunAll();
  EXPECT_TRUE(owner.expired());  // it had not been handed to the store yet
  Drain();
  EXPECT_TRUE(bucket.OpenUploads().empty());

  MakeWriter();
  writer->Begin("k", {});
  Payload again = PayloadOf("x");
  const std::weak_ptr<const void> on_wire = again.owner;
  writer->UploadPart(1, std::move(again), nullptr);
  store.ReleaseNext();
  executor.RunAll();
  writer.reset();
  executor.RunAll();
  EXPECT_FALSE(on_wire.expired());
  Drain();
  EXPECT_TRUE(on_wire.expired());
  EXPECT_TRUE(bucket.OpenUploads().empty());
}

}  // namespace
}  // namespace ckptfs
