// Multipart uploads and server-side copies.
#include <utility>

#include "conformance/store_fixture.h"

namespace ckptfs::test {
namespace {

constexpr std::size_t kMinPart = 5u << 20;

class Multipart : public ObjectStoreTest {
 protected:
  Result<PutResult> Complete(const MultipartUpload& upload,
                             std::vector<CompletedPart> parts,
                             WriteCondition condition = {}) {
    CompleteMultipartRequest request;
    request.upload = upload;
    request.parts = std::move(parts);
    request.condition = std::move(condition);
    return store().CompleteMultipart(std::move(request)).Get();
  }
  void Abort(const MultipartUpload& upload) {
    auto aborted = store().AbortMultipart({upload, {}}).Get();
    EXPECT_TRUE(aborted.has_value()) << aborted.error().ToString();
  }
};

#define REQUIRE_TRAIT(flag) \
  if (!traits().flag) GTEST_SKIP() << "this store lacks: " #flag

TEST_P(Multipart, PartsInAnyOrderMakeTheObject) {
  const std::string one = Pattern(kMinPart, 1);
  const std::string two = Pattern(kMinPart + 17, 2);
  const std::string three = Pattern(12'345, 3);
  auto upload = Create(Key("mp"), {{kNonceMetadataName, "n-1"}, {"a", "b"}});
  auto p3 = Upload(upload, 3, three);
  auto p1 = Upload(upload, 1, one);
  auto p2 = Upload(upload, 2, two);
  EXPECT_EQ(Head(Key("mp")).error().code(), ErrorCode::kNotFound);
  auto done = Complete(upload, {p1, p2, p3});
  ASSERT_TRUE(done.has_value()) << done.error().ToString();
  auto head = Head(Key("mp"));
  ASSERT_TRUE(head.has_value()) << head.error().ToString();
  EXPECT_EQ(head->size, one.size() + two.size() + three.size());
  if (traits().complete_tells_etag) {
    EXPECT_EQ(head->etag, done->etag);
  }
  EXPECT_EQ(head->metadata.at(kNonceMetadataName), "n-1");
  EXPECT_EQ(head->metadata.at("a"), "b");
  const std::string whole = one + two + three;
  auto read = Read(Key("mp"), 0, whole.size());
  ASSERT_TRUE(read.has_value()) << read.error().ToString();
  EXPECT_TRUE(*read == whole);
  EXPECT_EQ(Read(Key("mp"), kMinPart - 5, 10).value_or("failed"),
            whole.substr(kMinPart - 5, 10));
}

TEST_P(Multipart, PartNumbersMayHaveGaps) {
  REQUIRE_TRAIT(part_gaps);
  auto upload = Create(Key("gap"));
  auto p2 = Upload(upload, 2, Pattern(kMinPart, 1));
  auto p9000 = Upload(upload, 9000, "tail");
  auto done = Complete(upload, {p2, p9000});
  ASSERT_TRUE(done.has_value()) << done.error().ToString();
  EXPECT_EQ(Read(Key("gap"), kMinPart, 100).value_or("failed"), "tail");
}

TEST_P(Multipart, AReplacedPartCounts) {
  REQUIRE_TRAIT(parts_replaceable);
  auto upload = Create(Key("rep"));
  Upload(upload, 1, Pattern(kMinPart, 1));
  auto p1 = Upload(upload, 1, "the last one wins");
  auto done = Complete(upload, {p1});
  ASSERT_TRUE(done.has_value()) << done.error().ToString();
  EXPECT_EQ(Read(Key("rep"), 0, 100).value_or("failed"), "the last one wins");
}

TEST_P(Multipart, TheOldObjectStandsUntilComplete) {
  ASSERT_TRUE(Put(Key("old"), "old").has_value());
  auto upload = Create(Key("old"));
  auto p1 = Upload(upload, 1, "new");
  EXPECT_EQ(Read(Key("old"), 0, 100).value_or("failed"), "old");
  ASSERT_TRUE(Complete(upload, {p1}).has_value());
  EXPECT_EQ(Read(Key("old"), 0, 100).value_or("failed"), "new");
}

TEST_P(Multipart, AbortLeavesNothing) {
  auto upload = Create(Key("abort"));
  auto p1 = Upload(upload, 1, "part");
  Abort(upload);
  if (traits().abort_is_idempotent) Abort(upload);
  EXPECT_EQ(Head(Key("abort")).error().code(), ErrorCode::kNotFound);
  REQUIRE_TRAIT(complete_after_abort);
  auto done = Complete(upload, {p1});
  ASSERT_FALSE(done.has_value());
  EXPECT_EQ(done.error().code(), ErrorCode::kNotFound);
}

TEST_P(Multipart, SmallPartsAreRefused) {
  REQUIRE_TRAIT(small_parts_refused);
  auto upload = Create(Key("small"));
  auto p1 = Upload(upload, 1, "too small");
  auto p2 = Upload(upload, 2, "last");
  auto done = Complete(upload, {p1, p2});
  ASSERT_FALSE(done.has_value());
  EXPECT_EQ(done.error().code(), ErrorCode::kInvalidArgument);
  Abort(upload);
}

TEST_P(Multipart, AWrongETagIsRefused) {
  auto upload = Create(Key("wrong"));
  auto p1 = Upload(upload, 1, "part");
  p1.etag = ETag{"\"0123456789abcdef0123456789abcdef\""};
  auto done = Complete(upload, {p1});
  ASSERT_FALSE(done.has_value());
  EXPECT_EQ(done.error().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(Head(Key("wrong")).error().code(), ErrorCode::kNotFound);
  Abort(upload);
}

TEST_P(Multipart, CompleteIfAbsent) {
  REQUIRE_TRAIT(conditional_complete);
  WriteCondition absent;
  absent.if_none_match = true;
  auto loser = Create(Key("c"));
  auto winner = Create(Key("c"));
  auto l1 = Upload(loser, 1, "loser");
  auto w1 = Upload(winner, 1, "winner");
  auto won = Complete(winner, {w1}, absent);
  ASSERT_TRUE(won.has_value()) << won.error().ToString();
  auto lost = Complete(loser, {l1}, absent);
  ASSERT_FALSE(lost.has_value());
  EXPECT_EQ(lost.error().code(), ErrorCode::kPreconditionFailed);
  EXPECT_EQ(Read(Key("c"), 0, 100).value_or("failed"), "winner");
  Abort(loser);
}

TEST_P(Multipart, CompleteIfMatch) {
  REQUIRE_TRAIT(conditional_complete);
  auto base = Put(Key("m"), "base");
  ASSERT_TRUE(base.has_value());
  WriteCondition same;
  same.if_match = base->etag;
  auto first = Create(Key("m"));
  auto f1 = Upload(first, 1, "first");
  auto done = Complete(first, {f1}, same);
  ASSERT_TRUE(done.has_value()) << done.error().ToString();
  auto second = Create(Key("m"));
  auto s1 = Upload(second, 1, "second");
  auto stale = Complete(second, {s1}, same);
  ASSERT_FALSE(stale.has_value());
  EXPECT_EQ(stale.error().code(), ErrorCode::kPreconditionFailed);
  EXPECT_EQ(Read(Key("m"), 0, 100).value_or("failed"), "first");
  Abort(second);
}

TEST_P(Multipart, ListPartsTellsWhatWasUploaded) {
  auto upload = Create(Key("lp"));
  auto p2 = Upload(upload, 2, "second");
  auto p1 = Upload(upload, 1, Pattern(kMinPart, 1));
  auto listed = store().ListParts({upload, 0, {}}).Get();
  ASSERT_TRUE(listed.has_value()) << listed.error().ToString();
  ASSERT_EQ(listed->parts.size(), 2u);
  EXPECT_EQ(listed->parts[0].part_number, 1);
  EXPECT_EQ(listed->parts[0].size, kMinPart);
  EXPECT_EQ(listed->parts[0].etag, p1.etag);
  EXPECT_EQ(listed->parts[1].part_number, 2);
  EXPECT_EQ(listed->parts[1].etag, p2.etag);
  EXPECT_FALSE(listed->truncated);
  if (traits().list_parts_paging) {
    auto rest = store().ListParts({upload, 1, {}}).Get();
    ASSERT_TRUE(rest.has_value()) << rest.error().ToString();
    ASSERT_EQ(rest->parts.size(), 1u);
    EXPECT_EQ(rest->parts[0].part_number, 2);
  }
  Abort(upload);
}

TEST_P(Multipart, ListUploadsFindsThoseBelowAPrefix) {
  auto a = Create(Key("u/a b+%"));
  auto b = Create(Key("u/b"));
  auto other = Create(Key("v"));
  ListUploadsRequest request;
  request.prefix = Key("u/");
  auto listed = store().ListMultipartUploads(request).Get();
  ASSERT_TRUE(listed.has_value()) << listed.error().ToString();
  std::vector<std::string> found;
  for (const auto& u : listed->uploads) {
    if (u.upload.key.starts_with(Key("u/")))
      found.push_back(u.upload.upload_id);
  }
  EXPECT_EQ(found.size(), 2u);
  if (traits().list_uploads) {
    ASSERT_EQ(listed->uploads.size(), 2u);
    EXPECT_EQ(listed->uploads[0].upload.key, a.key);
    EXPECT_EQ(listed->uploads[0].upload.upload_id, a.upload_id);
    EXPECT_GT(listed->uploads[0].initiated.time_since_epoch().count(), 0);
    request.key_marker = a.key;
    request.upload_id_marker = a.upload_id;
    auto rest = store().ListMultipartUploads(request).Get();
    ASSERT_TRUE(rest.has_value()) << rest.error().ToString();
    ASSERT_EQ(rest->uploads.size(), 1u);
    EXPECT_EQ(rest->uploads[0].upload.upload_id, b.upload_id);
  }
  for (const auto& u : {a, b, other}) Abort(u);
}

TEST_P(Multipart, PartsCopiedFromAnotherObject) {
  REQUIRE_TRAIT(upload_part_copy);
  const std::string source = Pattern(2 * kMinPart, 9);
  auto put = Put(Key("src x+%"), source);
  ASSERT_TRUE(put.has_value()) << put.error().ToString();
  auto upload = Create(Key("spliced"));
  UploadPartCopyRequest copy;
  copy.upload = upload;
  copy.part_number = 1;
  copy.source_key = Key("src x+%");
  copy.source_if_match = put->etag;
  copy.offset = 100;
  copy.length = kMinPart;
  auto p1 = store().UploadPartCopy(copy).Get();
  ASSERT_TRUE(p1.has_value()) << p1.error().ToString();
  EXPECT_EQ(p1->part_number, 1);
  auto p2 = Upload(upload, 2, "tail");
  auto done = Complete(upload, {*p1, p2});
  ASSERT_TRUE(done.has_value()) << done.error().ToString();
  auto read = Read(Key("spliced"), 0, kMinPart + 100);
  ASSERT_TRUE(read.has_value());
  EXPECT_TRUE(*read == source.substr(100, kMinPart) + "tail");
}

TEST_P(Multipart, PartCopyOfAReplacedSourceFails) {
  REQUIRE_TRAIT(upload_part_copy);
  REQUIRE_TRAIT(source_condition);
  auto put = Put(Key("src"), Pattern(kMinPart, 1));
  ASSERT_TRUE(put.has_value());
  ASSERT_TRUE(Put(Key("src"), Pattern(kMinPart, 2)).has_value());
  auto upload = Create(Key("dst"));
  UploadPartCopyRequest copy;
  copy.upload = upload;
  copy.part_number = 1;
  copy.source_key = Key("src");
  copy.source_if_match = put->etag;
  copy.length = kMinPart;
  auto failed = store().UploadPartCopy(copy).Get();
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().code(), ErrorCode::kPreconditionFailed);
  Abort(upload);
}

TEST_P(Multipart, CopyTakesContentAndAttributes) {
  ObjectAttributes attributes;
  attributes.metadata = {{"file-mtime", "1"}};
  auto put = Put(Key("s"), "content", {}, attributes);
  ASSERT_TRUE(put.has_value());
  CopyRequest copy;
  copy.source_key = Key("s");
  copy.key = Key("t");
  auto copied = store().Copy(copy).Get();
  ASSERT_TRUE(copied.has_value()) << copied.error().ToString();
  auto head = Head(Key("t"));
  ASSERT_TRUE(head.has_value());
  EXPECT_EQ(head->etag, copied->etag);
  EXPECT_EQ(head->metadata.at("file-mtime"), "1");
  EXPECT_EQ(Read(Key("t"), 0, 100).value_or("failed"), "content");
}

TEST_P(Multipart, CopyOntoItselfReplacesAttributes) {
  REQUIRE_TRAIT(copy_replaces_metadata);
  ObjectAttributes attributes;
  attributes.metadata = {{"file-mtime", "1"}, {"gone", "x"}};
  ASSERT_TRUE(Put(Key("s"), "content", {}, attributes).has_value());
  CopyRequest copy;
  copy.source_key = Key("s");
  copy.key = Key("s");
  copy.replace_attributes.emplace();
  copy.replace_attributes->metadata = {{"file-mtime", "2"}};
  auto copied = store().Copy(copy).Get();
  ASSERT_TRUE(copied.has_value()) << copied.error().ToString();
  auto head = Head(Key("s"));
  ASSERT_TRUE(head.has_value());
  EXPECT_EQ(head->metadata.at("file-mtime"), "2");
  EXPECT_FALSE(head->metadata.contains("gone"));
  EXPECT_EQ(Read(Key("s"), 0, 100).value_or("failed"), "content");
}

TEST_P(Multipart, CopyConditions) {
  REQUIRE_TRAIT(source_condition);
  auto first = Put(Key("s"), "first");
  ASSERT_TRUE(first.has_value());
  auto second = Put(Key("s"), "second");
  ASSERT_TRUE(second.has_value());
  CopyRequest copy;
  copy.source_key = Key("s");
  copy.key = Key("t");
  copy.source_if_match = first->etag;
  auto failed = store().Copy(copy).Get();
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().code(), ErrorCode::kPreconditionFailed);
  copy.source_if_match = second->etag;
  auto copied = store().Copy(copy).Get();
  ASSERT_TRUE(copied.has_value()) << copied.error().ToString();
  if (!traits().conditional_copy) return;
  copy.condition.if_none_match = true;
  auto exists = store().Copy(copy).Get();
  ASSERT_FALSE(exists.has_value());
  EXPECT_EQ(exists.error().code(), ErrorCode::kPreconditionFailed);
}

TEST_P(Multipart, CopyOfAnAbsentKeyIsNotFound) {
  CopyRequest copy;
  copy.source_key = Key("absent");
  copy.key = Key("t");
  auto failed = store().Copy(copy).Get();
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().code(), ErrorCode::kNotFound);
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Multipart);
INSTANTIATE_TEST_SUITE_P(Stores, Multipart,
                         ::testing::ValuesIn(StoresUnderTest()),
                         [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace ckptfs::test
