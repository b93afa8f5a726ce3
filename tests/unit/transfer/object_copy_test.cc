#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "store/memory_object_store.h"
#include "support/fault_object_store.h"
#include "support/manual_executor.h"
#include "support/object_bytes.h"
#include "transfer/object_writer.h"
#include "transfer/part_plan.h"

namespace ckptfs {
namespace {

class ObjectCopyTest : public ::testing::Test {
 protected:
  Result<ObjectInfo> Copy(const ETag& etag, std::uint64_t size,
                          WriteCondition condition, CopyOptions options) {
    ObjectInfo source;
    HeadRequest head;
    head.key = "src";
    Result<ObjectInfo> there = bucket.Head(head).Get();
    if (there.has_value()) source = *std::move(there);
    source.key = "src";
    source.etag = etag;
    source.size = size;
    std::optional<Result<ObjectInfo>> out;
    Spawn<Result<ObjectInfo>>(
        executor,
        CopyObject(store, executor, std::move(source), "dst",
                   std::move(condition), options),
        [&](Result<ObjectInfo> r) { out.emplace(std::move(r)); });
    executor.RunAll();
    return *std::move(out);
  }
  static CopyOptions ByParts() {
    CopyOptions o;
    o.max_single_bytes = 1;
    o.part_bytes = kMinPartBytes;
    return o;
  }

  MemoryObjectStore bucket;
  FaultObjectStore store{bucket};
  ManualExecutor executor;
};

TEST_F(ObjectCopyTest, SmallObjectsAreOneRequest) {
  const ETag etag = bucket.PutBytes("src", "data", {{"k", "v"}}).etag;
  const Result<ObjectInfo> copied = Copy(etag, 4, {}, {});
  ASSERT_TRUE(copied.has_value());
  EXPECT_EQ(copied->key, "dst");
  EXPECT_EQ(copied->size, 4u);
  EXPECT_EQ(bucket.Snapshot().at("dst"), "data");
  EXPECT_EQ(store.log().size(), 1u);
  bucket.PutBytes("src", "newer");
  EXPECT_EQ(Copy(etag, 4, {}, {}).error().code(),
            ErrorCode::kPreconditionFailed);
  DeleteRequest gone;
  gone.key = "src";
  ASSERT_TRUE(bucket.Delete(gone).Get().has_value());
  EXPECT_EQ(Copy(etag, 4, {}, {}).error().code(), ErrorCode::kNotFound);
}

TEST_F(ObjectCopyTest, LargeObjectsGoByPartsWithTheirAttributes) {
  const std::string bytes = PatternBytes(2 * kMinPartBytes + 17);
  PutRequest put;
  put.key = "src";
  put.payload = PayloadOf(bytes);
  put.attributes.metadata = {{"file-mtime", "9"}, {kNonceMetadataName, "old"}};
  put.attributes.content_type = "x/y";
  const ETag etag = bucket.Put(std::move(put)).Get()->etag;
  const Result<ObjectInfo> copied = Copy(etag, bytes.size(), {}, ByParts());
  ASSERT_TRUE(copied.has_value()) << copied.error().ToString();
  EXPECT_EQ(copied->size, bytes.size());
  EXPECT_TRUE(bucket.Snapshot().at("dst") == bytes);
  EXPECT_EQ(store.CountOf(StoreOperation::kUploadPartCopy), 3u);
  HeadRequest head;
  head.key = "dst";
  const ObjectInfo there = *bucket.Head(head).Get();
  EXPECT_EQ(there.metadata.at("file-mtime"), "9");
  EXPECT_NE(there.metadata.at(kNonceMetadataName), "old");
  EXPECT_EQ(there.content_type, "x/y");
  EXPECT_EQ(there.metadata, copied->metadata);
}

TEST_F(ObjectCopyTest, BothWaysKeepHeadersAndTags) {
  const std::string bytes = PatternBytes(kMinPartBytes + 1);
  PutRequest put;
  put.key = "src";
  put.payload = PayloadOf(bytes);
  put.attributes.headers = {"gzip", "max-age=60", "attachment", "de", "0"};
  put.attributes.tags = {{"team", "a b"}, {"empty", ""}};
  const ObjectAttributes given = put.attributes;
  const ETag etag = bucket.Put(std::move(put)).Get()->etag;
  for (const bool by_parts : {false, true}) {
    SCOPED_TRACE(by_parts);
    const Result<ObjectInfo> copied =
        Copy(etag, bytes.size(), {}, by_parts ? ByParts() : CopyOptions());
    ASSERT_TRUE(copied.has_value()) << copied.error().ToString();
    EXPECT_EQ(copied->headers, given.headers);
    EXPECT_EQ(copied->tag_count, 2);
    HeadRequest head;
    head.key = "dst";
    EXPECT_EQ(bucket.Head(head).Get()->headers, given.headers);
    GetTagsRequest get;
    get.key = "dst";
    EXPECT_EQ(*bucket.GetTags(get).Get(), given.tags);
    DeleteRequest gone;
    gone.key = "dst";
    ASSERT_TRUE(bucket.Delete(gone).Get().has_value());
  }
  // Read once, by the copy in parts.
  EXPECT_EQ(store.CountOf(StoreOperation::kGetTags), 1u);
}

TEST_F(ObjectCopyTest, TagsAreAskedForOnlyWhereThereAreAny) {
  const std::string bytes = PatternBytes(kMinPartBytes + 1);
  const ETag etag = bucket.PutBytes("src", bytes).etag;
  ASSERT_TRUE(Copy(etag, bytes.size(), {}, ByParts()).has_value());
  EXPECT_EQ(store.CountOf(StoreOperation::kGetTags), 0u);
}

TEST_F(ObjectCopyTest, TagsThatMayNotBeReadAreAnErrorAndNoLoss) {
  const std::string bytes = PatternBytes(kMinPartBytes + 1);
  PutRequest put;
  put.key = "src";
  put.payload = PayloadOf(bytes);
  put.attributes.tags = {{"team", "a"}};
  const ETag etag = bucket.Put(std::move(put)).Get()->etag;
  store.FailNext(StoreOperation::kGetTags,
                 Verdict::FailBefore(
                     Error(ErrorCode::kPermissionDenied, "Access Denied")));
  const Result<ObjectInfo> copied = Copy(etag, bytes.size(), {}, ByParts());
  ASSERT_FALSE(copied.has_value());
  EXPECT_EQ(copied.error().code(), ErrorCode::kPermissionDenied);
  EXPECT_NE(copied.error().message().find("src has tags"), std::string::npos);
  EXPECT_FALSE(bucket.Snapshot().contains("dst"));
  EXPECT_TRUE(bucket.OpenUploads().empty());
}

TEST_F(ObjectCopyTest, ByPartsKeepsTheConditions) {
  const std::string bytes = PatternBytes(kMinPartBytes + 1);
  const ETag etag = bucket.PutBytes("src", bytes).etag;
  bucket.PutBytes("dst", "theirs");
  WriteCondition absent;
  absent.if_none_match = true;
  EXPECT_EQ(Copy(etag, bytes.size(), absent, ByParts()).error().code(),
            ErrorCode::kPreconditionFailed);
  EXPECT_EQ(Copy(ETag{"\"other\""}, bytes.size(), {}, ByParts()).error().code(),
            ErrorCode::kPreconditionFailed);
  EXPECT_EQ(bucket.Snapshot().at("dst"), "theirs");
  EXPECT_TRUE(bucket.OpenUploads().empty());
}

TEST_F(ObjectCopyTest, AFaultAtAnyCallLeavesNoUploadAndNoHalfCopy) {
  const std::string bytes = PatternBytes(2 * kMinPartBytes);
  const ETag etag = bucket.PutBytes("src", bytes).etag;
  for (const bool effect : {false, true}) {
    for (std::uint64_t n = 0; n < 5; ++n) {
      SCOPED_TRACE(n);
      store.ClearFaults();
      store.FailCall(store.log().size() + n,
                     effect ? Verdict::LoseReply() : Verdict::FailBefore());
      const Result<ObjectInfo> copied = Copy(etag, bytes.size(), {}, ByParts());
      // The lost reply of Complete, the fifth call, is settled.
      EXPECT_EQ(copied.has_value(), effect && n == 4);
      EXPECT_TRUE(bucket.OpenUploads().empty());
      EXPECT_EQ(bucket.Snapshot().count("dst"), copied.has_value() ? 1u : 0u);
    }
  }
}

// [S-02]
TEST_F(ObjectCopyTest, ALostReplyIsSettledByWhatIsThere) {
  const Error lost(ErrorCode::kOutcomeUnknown, "injected: reply lost");
  const ETag etag =
      bucket.PutBytes("src", "data", {{kNonceMetadataName, "n"}}).etag;
  bucket.PutBytes("dst", "older");
  // Not carried out: nothing tells that it will not be.
  store.FailNext(StoreOperation::kCopy, Verdict::FailBefore(lost));
  EXPECT_EQ(Copy(etag, 4, {}, {}).error().code(), ErrorCode::kOutcomeUnknown);
  // Carried out, but nobody can be asked.
  store.FailNext(StoreOperation::kCopy, Verdict::LoseReply(lost));
  store.FailNext(StoreOperation::kHead, Verdict::FailBefore());
  EXPECT_EQ(Copy(etag, 4, {}, {}).error().code(), ErrorCode::kOutcomeUnknown);

  bucket.PutBytes("dst", "older");
  store.FailNext(StoreOperation::kCopy, Verdict::LoseReply(lost));
  const Result<ObjectInfo> copied = Copy(etag, 4, {}, {});
  ASSERT_TRUE(copied.has_value()) << copied.error().ToString();
  HeadRequest head;
  head.key = "dst";
  EXPECT_EQ(copied->etag, bucket.Head(head).Get()->etag);
  EXPECT_EQ(bucket.Snapshot().at("dst"), "data");
}

}  // namespace
}  // namespace ckptfs
