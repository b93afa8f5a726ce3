#include "store/memory_object_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>

namespace ckptfs {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

Payload Bytes(const std::string& text) {
  auto owner = std::make_shared<std::string>(text);
  Payload p;
  p.segments.push_back(std::as_bytes(std::span(*owner)));
  p.owner = std::move(owner);
  return p;
}

struct Buffer {
  explicit Buffer(std::size_t size)
      : bytes(std::make_shared<std::string>(size, '?')) {}
  Destination destination() const {
    Destination d;
    d.segments.push_back(std::as_writable_bytes(std::span(*bytes)));
    d.owner = bytes;
    return d;
  }
  std::shared_ptr<std::string> bytes;
};

class MemoryObjectStoreTest : public ::testing::Test {
 protected:
  static MemoryObjectStoreOptions Options(const Clock* clock) {
    MemoryObjectStoreOptions o;
    o.min_part_bytes = 4;
    o.clock = clock;
    return o;
  }
  Result<PutResult> Put(const std::string& key, const std::string& text,
                        WriteCondition condition = {}) {
    PutRequest r;
    r.key = key;
    r.payload = Bytes(text);
    r.condition = std::move(condition);
    return store.Put(std::move(r)).Get();
  }
  Result<ObjectInfo> Head(const std::string& key) {
    HeadRequest r;
    r.key = key;
    return store.Head(std::move(r)).Get();
  }
  MultipartUpload Create(const std::string& key, ObjectAttributes a = {}) {
    CreateMultipartRequest r;
    r.key = key;
    r.attributes = std::move(a);
    return *store.CreateMultipart(std::move(r)).Get();
  }
  Result<CompletedPart> Part(const MultipartUpload& u, int n,
                             const std::string& text) {
    UploadPartRequest r;
    r.upload = u;
    r.part_number = n;
    r.payload = Bytes(text);
    return store.UploadPart(std::move(r)).Get();
  }
  Result<PutResult> Complete(const MultipartUpload& u,
                             std::vector<CompletedPart> parts,
                             WriteCondition condition = {},
                             std::string nonce = {}) {
    CompleteMultipartRequest r;
    r.upload = u;
    r.parts = std::move(parts);
    r.condition = std::move(condition);
    r.nonce = std::move(nonce);
    return store.CompleteMultipart(std::move(r)).Get();
  }
  ListResult List(ListRequest r) { return *store.List(std::move(r)).Get(); }

  FakeClock clock;
  MemoryObjectStore store{Options(&clock)};
};

std::vector<std::string> Keys(const ListResult& list) {
  std::vector<std::string> out;
  for (const ObjectInfo& o : list.objects) out.push_back(o.key);
  return out;
}

TEST_F(MemoryObjectStoreTest, PutThenHeadAndGet) {
  PutRequest put;
  put.key = "a";
  put.payload = Bytes("hello");
  put.attributes = {{{"file-mtime", "7"}}, "text/plain"};
  const Result<PutResult> done = store.Put(std::move(put)).Get();
  ASSERT_TRUE(done.has_value());

  const Result<ObjectInfo> head = Head("a");
  ASSERT_TRUE(head.has_value());
  EXPECT_EQ(head->size, 5u);
  EXPECT_EQ(head->etag, done->etag);
  EXPECT_EQ(head->content_type, "text/plain");
  EXPECT_EQ(head->metadata.at("file-mtime"), "7");
  EXPECT_EQ(head->last_modified, clock.WallNow());

  Buffer buffer(10);
  GetRequest get;
  get.key = "a";
  get.offset = 1;
  get.destination = buffer.destination();
  get.if_match = done->etag;
  const Result<GetResult> got = store.Get(std::move(get)).Get();
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(got->bytes, 4u);
  EXPECT_EQ(got->info.size, 5u);
  EXPECT_EQ(buffer.bytes->substr(0, 5), "ello?");
}

TEST_F(MemoryObjectStoreTest, AnEtagIsAGenerationNotADigest) {
  const ETag first = Put("a", "same")->etag;
  const ETag second = Put("a", "same")->etag;
  EXPECT_NE(first, second);
  GetRequest get;
  get.key = "a";
  get.if_match = first;
  EXPECT_EQ(store.Get(std::move(get)).Get().error().code(),
            ErrorCode::kPreconditionFailed);
}

TEST_F(MemoryObjectStoreTest, AbsentKeys) {
  EXPECT_EQ(Head("x").error().code(), ErrorCode::kNotFound);
  GetRequest get;
  get.key = "x";
  get.if_match = ETag{"\"e\""};
  EXPECT_EQ(store.Get(std::move(get)).Get().error().code(),
            ErrorCode::kNotFound);
  DeleteRequest del;
  del.key = "x";
  EXPECT_TRUE(store.Delete(std::move(del)).Get().has_value());
  EXPECT_EQ(Put("", "").error().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(Put(std::string(1025, 'k'), "").error().code(),
            ErrorCode::kNameTooLong);
  EXPECT_TRUE(Put(std::string(1024, 'k'), "").has_value());
}

TEST_F(MemoryObjectStoreTest, ConditionsOnPut) {
  WriteCondition absent;
  absent.if_none_match = true;
  const Result<PutResult> first = Put("a", "1", absent);
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(Put("a", "2", absent).error().code(),
            ErrorCode::kPreconditionFailed);
  WriteCondition same;
  same.if_match = first->etag;
  EXPECT_TRUE(Put("a", "3", same).has_value());
  EXPECT_EQ(Put("a", "4", same).error().code(), ErrorCode::kPreconditionFailed);
  EXPECT_EQ(Put("b", "5", same).error().code(), ErrorCode::kPreconditionFailed);
  EXPECT_EQ(store.Snapshot(), (std::map<std::string, std::string>{{"a", "3"}}));
}

TEST_F(MemoryObjectStoreTest, AConditionIsRefusedWhereItIsNotSupported) {
  MemoryObjectStoreOptions o;
  o.capabilities.conditional_put = false;
  o.capabilities.conditional_complete = false;
  MemoryObjectStore plain(o);
  PutRequest put;
  put.key = "a";
  put.condition.if_none_match = true;
  EXPECT_EQ(plain.Put(std::move(put)).Get().error().code(),
            ErrorCode::kUnsupported);
  EXPECT_FALSE(plain.capabilities().conditional_put);
  EXPECT_THAT(plain.Snapshot(), IsEmpty());
}

TEST_F(MemoryObjectStoreTest, MultipartBecomesVisibleOnlyWhenComplete) {
  Put("a", "old");
  const MultipartUpload upload =
      Create("a", {{{kNonceMetadataName, "n1"}}, "text/x"});
  const CompletedPart two = *Part(upload, 2, "WORLD");
  const CompletedPart stale = *Part(upload, 1, "xxxx");
  const CompletedPart one = *Part(upload, 1, "HELLO");
  EXPECT_EQ(store.Snapshot().at("a"), "old");
  EXPECT_EQ(store.OpenUploads().size(), 1u);

  EXPECT_EQ(Complete(upload, {two, one}).error().code(),
            ErrorCode::kInvalidArgument);  // InvalidPartOrder
  EXPECT_EQ(Complete(upload, {stale, two}).error().s3_code(), "InvalidPart");
  EXPECT_EQ(Complete(upload, {}).error().s3_code(), "MalformedXML");
  const Result<PutResult> done = Complete(upload, {one, two}, {}, "n1");
  ASSERT_TRUE(done.has_value());
  EXPECT_EQ(store.Snapshot().at("a"), "HELLOWORLD");
  EXPECT_EQ(Head("a")->metadata.at(kNonceMetadataName), "n1");
  EXPECT_EQ(Head("a")->content_type, "text/x");
  EXPECT_THAT(store.OpenUploads(), IsEmpty());

  // The reply was lost, the caller repeats it: told by the nonce alone.
  const Result<PutResult> again = Complete(upload, {one, two}, {}, "n1");
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(again->etag, done->etag);
  EXPECT_EQ(Complete(upload, {one, two}, {}, "n2").error().s3_code(),
            "NoSuchUpload");
  EXPECT_EQ(Complete(upload, {one, two}).error().code(), ErrorCode::kNotFound);
}

TEST_F(MemoryObjectStoreTest, SmallPartsAreRefusedButForTheLast) {
  const MultipartUpload upload = Create("a");
  const CompletedPart one = *Part(upload, 1, "123");
  const CompletedPart two = *Part(upload, 2, "4");
  EXPECT_EQ(Complete(upload, {one, two}).error().s3_code(), "EntityTooSmall");
  EXPECT_EQ(store.OpenUploads().size(), 1u);
  EXPECT_TRUE(Complete(upload, {two}).has_value());
  EXPECT_EQ(store.Snapshot().at("a"), "4");  // unnamed parts are dropped
}

TEST_F(MemoryObjectStoreTest, PartNumbersRunFromOneToTenThousand) {
  const MultipartUpload upload = Create("a");
  EXPECT_FALSE(Part(upload, 0, "x").has_value());
  EXPECT_FALSE(Part(upload, 10'001, "x").has_value());
  EXPECT_TRUE(Part(upload, 10'000, "x").has_value());
}

TEST_F(MemoryObjectStoreTest, AFailedConditionKeepsTheUploadOpen) {
  Put("a", "old");
  const MultipartUpload upload = Create("a");
  const CompletedPart one = *Part(upload, 1, "new");
  WriteCondition absent;
  absent.if_none_match = true;
  EXPECT_EQ(Complete(upload, {one}, absent).error().code(),
            ErrorCode::kPreconditionFailed);
  EXPECT_EQ(store.Snapshot().at("a"), "old");
  EXPECT_EQ(store.OpenUploads().size(), 1u);
}

TEST_F(MemoryObjectStoreTest, AbortForgetsTheUploadAndIsRepeatable) {
  const MultipartUpload upload = Create("a");
  Part(upload, 1, "x").value();
  for (int i = 0; i < 2; ++i) {
    AbortMultipartRequest abort;
    abort.upload = upload;
    EXPECT_TRUE(store.AbortMultipart(std::move(abort)).Get().has_value());
  }
  EXPECT_THAT(store.OpenUploads(), IsEmpty());
  EXPECT_EQ(Part(upload, 2, "x").error().s3_code(), "NoSuchUpload");
  ListPartsRequest list;
  list.upload = upload;
  EXPECT_EQ(store.ListParts(std::move(list)).Get().error().code(),
            ErrorCode::kNotFound);
}

TEST_F(MemoryObjectStoreTest, PagesOfPartsAndUploads) {
  MemoryObjectStoreOptions o;
  o.max_page = 2;
  MemoryObjectStore small(o);
  const auto create = [&](const std::string& key) {
    CreateMultipartRequest r;
    r.key = key;
    return *small.CreateMultipart(std::move(r)).Get();
  };
  const MultipartUpload b = create("p/b");
  const MultipartUpload a1 = create("p/a");
  const MultipartUpload a2 = create("p/a");
  create("other");
  for (int n : {3, 1, 2}) {
    UploadPartRequest r;
    r.upload = b;
    r.part_number = n;
    small.UploadPart(std::move(r)).Get().value();
  }
  ListPartsRequest parts;
  parts.upload = b;
  ListPartsResult page = *small.ListParts(parts).Get();
  ASSERT_EQ(page.parts.size(), 2u);
  EXPECT_TRUE(page.truncated);
  parts.part_number_marker = page.next_part_number_marker;
  page = *small.ListParts(parts).Get();
  ASSERT_EQ(page.parts.size(), 1u);
  EXPECT_EQ(page.parts[0].part_number, 3);
  EXPECT_FALSE(page.truncated);

  ListUploadsRequest uploads;
  uploads.prefix = "p/";
  ListUploadsResult first = *small.ListMultipartUploads(uploads).Get();
  ASSERT_EQ(first.uploads.size(), 2u);
  EXPECT_EQ(first.uploads[0].upload.upload_id, a1.upload_id);
  EXPECT_EQ(first.uploads[1].upload.upload_id, a2.upload_id);
  ASSERT_TRUE(first.truncated);
  uploads.key_marker = first.next_key_marker;
  uploads.upload_id_marker = first.next_upload_id_marker;
  const ListUploadsResult second = *small.ListMultipartUploads(uploads).Get();
  ASSERT_EQ(second.uploads.size(), 1u);
  EXPECT_EQ(second.uploads[0].upload.key, "p/b");
  EXPECT_FALSE(second.truncated);
}

TEST_F(MemoryObjectStoreTest, UploadPartCopyTakesARangeOfThatVersion) {
  const ETag source = Put("src", "0123456789")->etag;
  const MultipartUpload upload = Create("dst");
  UploadPartCopyRequest r;
  r.upload = upload;
  r.part_number = 1;
  r.source_key = "src";
  r.source_if_match = source;
  r.offset = 2;
  r.length = 5;
  const CompletedPart part = *store.UploadPartCopy(r).Get();
  EXPECT_EQ(part.size, 5u);
  r.length = 9;
  EXPECT_EQ(store.UploadPartCopy(r).Get().error().s3_code(), "InvalidRange");
  r.length = 5;
  Put("src", "replaced!!");
  EXPECT_EQ(store.UploadPartCopy(r).Get().error().code(),
            ErrorCode::kPreconditionFailed);
  r.source_key = "gone";
  EXPECT_EQ(store.UploadPartCopy(r).Get().error().code(), ErrorCode::kNotFound);
  ASSERT_TRUE(Complete(upload, {part}).has_value());
  EXPECT_EQ(store.Snapshot().at("dst"), "23456");
}

TEST_F(MemoryObjectStoreTest, Copy) {
  PutRequest put;
  put.key = "src";
  put.payload = Bytes("data");
  put.attributes = {{{"k", "v"}}, "t/x"};
  const ETag source = store.Put(std::move(put)).Get()->etag;
  CopyRequest r;
  r.source_key = "src";
  r.key = "dst";
  r.source_if_match = source;
  r.condition.if_none_match = true;
  ASSERT_TRUE(store.Copy(r).Get().has_value());
  EXPECT_EQ(store.Snapshot().at("dst"), "data");
  EXPECT_EQ(Head("dst")->metadata.at("k"), "v");
  EXPECT_EQ(store.Copy(r).Get().error().code(), ErrorCode::kPreconditionFailed);
  r.condition = {};
  r.replace_attributes = ObjectAttributes{{{"n", "1"}}, ""};
  ASSERT_TRUE(store.Copy(r).Get().has_value());
  EXPECT_EQ(Head("dst")->metadata, (UserMetadata{{"n", "1"}}));
  r.source_if_match = ETag{"\"other\""};
  EXPECT_EQ(store.Copy(r).Get().error().code(), ErrorCode::kPreconditionFailed);
  CopyRequest self;
  self.source_key = "src";
  self.key = "src";
  EXPECT_EQ(store.Copy(self).Get().error().s3_code(), "InvalidRequest");
}

TEST_F(MemoryObjectStoreTest, DeleteIfMatch) {
  const ETag old = store.PutBytes("k", "one").etag;
  const ETag now = store.PutBytes("k", "two").etag;
  DeleteRequest del;
  del.key = "k";
  del.if_match = old;
  EXPECT_EQ(store.Delete(del).Get().error().code(),
            ErrorCode::kPreconditionFailed);
  EXPECT_EQ(store.Snapshot().at("k"), "two");
  del.if_match = now;
  EXPECT_TRUE(store.Delete(del).Get().has_value());
  EXPECT_TRUE(store.Snapshot().empty());
  EXPECT_TRUE(store.Delete(del).Get().has_value());  // absent
}

TEST_F(MemoryObjectStoreTest, TagsStayWithCopiesAndAreCounted) {
  PutRequest put;
  put.key = "src";
  put.attributes.tags = {{"a", "1"}, {"b", ""}};
  ASSERT_TRUE(store.Put(put).Get().has_value());
  EXPECT_EQ(Head("src")->tag_count, 2);
  CopyRequest copy;
  copy.source_key = "src";
  copy.key = "dst";
  copy.replace_attributes.emplace();
  ASSERT_TRUE(store.Copy(copy).Get().has_value());
  GetTagsRequest get;
  get.key = "dst";
  EXPECT_EQ(*store.GetTags(get).Get(), put.attributes.tags);
  copy.replace_attributes->tags = {{"c", ""}};
  EXPECT_EQ(store.Copy(copy).Get().error().code(), ErrorCode::kInvalidArgument);
  get.key = "absent";
  EXPECT_EQ(store.GetTags(get).Get().error().code(), ErrorCode::kNotFound);

  MemoryObjectStoreOptions o;
  o.capabilities.tagging = false;
  MemoryObjectStore plain(o);
  EXPECT_EQ(plain.Put(put).Get().error().code(), ErrorCode::kUnsupported);
  EXPECT_EQ(plain.GetTags(get).Get().error().code(), ErrorCode::kUnsupported);
}

TEST_F(MemoryObjectStoreTest, ListsInByteOrderWithPrefixesAndPages) {
  for (const char* key : {"a", "d/1", "d/2", "d/e/3", "d0", "e", "\xff"}) {
    Put(key, "x");
  }
  EXPECT_THAT(Keys(List({})),
              ElementsAre("a", "d/1", "d/2", "d/e/3", "d0", "e", "\xff"));
  ListRequest top;
  top.delimiter = "/";
  const ListResult all = List(top);
  EXPECT_THAT(Keys(all), ElementsAre("a", "d0", "e", "\xff"));
  EXPECT_THAT(all.common_prefixes, ElementsAre("d/"));
  EXPECT_FALSE(all.truncated);

  // Page by page: each entry once, a common prefix counts as one.
  std::vector<std::string> seen;
  top.max_keys = 1;
  for (int pages = 0; pages < 20; ++pages) {
    const ListResult page = List(top);
    EXPECT_LE(page.objects.size() + page.common_prefixes.size(), 1u);
    for (const auto& k : Keys(page)) seen.push_back(k);
    for (const auto& p : page.common_prefixes) seen.push_back(p);
    if (!page.truncated) break;
    top.continuation_token = page.next_continuation_token;
  }
  EXPECT_THAT(seen, ElementsAre("a", "d/", "d0", "e", "\xff"));

  ListRequest inside;
  inside.prefix = "d/";
  inside.delimiter = "/";
  EXPECT_THAT(Keys(List(inside)), ElementsAre("d/1", "d/2"));
  EXPECT_THAT(List(inside).common_prefixes, ElementsAre("d/e/"));
  inside.start_after = "d/1";
  EXPECT_THAT(Keys(List(inside)), ElementsAre("d/2"));
}

TEST_F(MemoryObjectStoreTest, DeleteMany) {
  Put("a", "1");
  Put("b", "2");
  DeleteManyRequest r;
  r.keys = {"a", "gone", ""};
  const Result<DeleteManyResult> done = store.DeleteMany(std::move(r)).Get();
  ASSERT_TRUE(done.has_value());
  ASSERT_EQ(done->failures.size(), 1u);
  EXPECT_EQ(done->failures[0].key, "");
  EXPECT_EQ(store.Snapshot().size(), 1u);
}

TEST_F(MemoryObjectStoreTest, OldVersionsStayReadableByTheirId) {
  MemoryObjectStoreOptions o;
  o.versioned = true;
  MemoryObjectStore versioned(o);
  const std::string old_id = versioned.PutBytes("a", "old").version_id;
  ASSERT_FALSE(old_id.empty());
  versioned.PutBytes("a", "new");
  DeleteRequest del;
  del.key = "a";
  ASSERT_TRUE(versioned.Delete(std::move(del)).Get().has_value());
  Buffer buffer(3);
  GetRequest get;
  get.key = "a";
  get.version_id = old_id;
  get.destination = buffer.destination();
  ASSERT_TRUE(versioned.Get(std::move(get)).Get().has_value());
  EXPECT_EQ(*buffer.bytes, "old");
}

TEST_F(MemoryObjectStoreTest, AStoppedRequestHasNoEffectButCounts) {
  std::stop_source stop;
  stop.request_stop();
  const std::uint64_t before = store.calls();
  PutRequest put;
  put.key = "a";
  put.options.stop = stop.get_token();
  EXPECT_EQ(store.Put(std::move(put)).Get().error().code(),
            ErrorCode::kCancelled);
  EXPECT_THAT(store.Snapshot(), IsEmpty());
  EXPECT_EQ(store.calls(), before + 1);
}

}  // namespace
}  // namespace ckptfs
