// What copies keep [S-32] [S-35], and what deletes are held to [S-39].
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "common/executors.h"
#include "conformance/store_fixture.h"
#include "transfer/object_writer.h"

namespace ckptfs::test {
namespace {

constexpr std::size_t kMinPart = 5u << 20;

class KeptByCopies : public ObjectStoreTest {
 protected:
  ObjectAttributes Attributes() const {
    ObjectAttributes out;
    out.metadata = {{"file-mtime", "1"}};
    out.content_type = "application/x-test";
    out.headers.content_encoding = "gzip";
    out.headers.cache_control = "max-age=60, public";
    out.headers.content_disposition = "attachment; filename=\"a b.gz\"";
    out.headers.content_language = "de";
    if (traits().expires_header) {
      out.headers.expires = "Thu, 01 Dec 2033 16:00:00 GMT";
    }
    if (traits().tagging) {
      out.tags = {{"team", "a b/c+d=e"}, {"cost", "1"}};
    }
    return out;
  }
  ObjectAttributes AttributesOfParts() const {
    ObjectAttributes out = Attributes();
    if (!traits().upload_keeps_tags) out.tags.clear();
    return out;
  }
  // That `key` carries them.
  void ExpectOn(const std::string& key, const ObjectAttributes& wanted) {
    const Result<ObjectInfo> head = Head(key);
    ASSERT_TRUE(head.has_value()) << head.error().ToString();
    EXPECT_EQ(head->content_type, wanted.content_type);
    EXPECT_EQ(head->headers.content_encoding, wanted.headers.content_encoding);
    EXPECT_EQ(head->headers.cache_control, wanted.headers.cache_control);
    EXPECT_EQ(head->headers.content_disposition,
              wanted.headers.content_disposition);
    EXPECT_EQ(head->headers.content_language, wanted.headers.content_language);
    EXPECT_EQ(head->headers.expires, wanted.headers.expires);
    for (const auto& [name, value] : wanted.metadata) {
      ASSERT_TRUE(head->metadata.contains(name)) << name;
      EXPECT_EQ(head->metadata.at(name), value) << name;
    }
    if (!traits().tagging) return;
    EXPECT_EQ(head->tag_count, static_cast<int>(wanted.tags.size()));
    const Result<ObjectTags> tags = store().GetTags({key, {}, {}}).Get();
    ASSERT_TRUE(tags.has_value()) << tags.error().ToString();
    EXPECT_EQ(*tags, wanted.tags);
  }
  Result<void> DeleteVersion(const std::string& key, const ETag& etag) {
    return store().Delete({key, etag, {}}).Get();
  }
};

#define REQUIRE_TRAIT(flag) \
  if (!traits().flag) GTEST_SKIP() << "this store lacks: " #flag

TEST_P(KeptByCopies, NewObjectsCarryWhatTheyAreGiven) {
  auto put = Put(Key("p"), "content", {}, Attributes());
  ASSERT_TRUE(put.has_value()) << put.error().ToString();
  ExpectOn(Key("p"), Attributes());
  CreateMultipartRequest create;
  create.key = Key("m");
  create.attributes = Attributes();
  Result<MultipartUpload> upload = store().CreateMultipart(create).Get();
  ASSERT_TRUE(upload.has_value()) << upload.error().ToString();
  const CompletedPart part = Upload(*upload, 1, "content");
  CompleteMultipartRequest complete;
  complete.upload = *upload;
  complete.parts = {part};
  ASSERT_TRUE(store().CompleteMultipart(complete).Get().has_value());
  ExpectOn(Key("m"), AttributesOfParts());
}

TEST_P(KeptByCopies, ACopyOntoItselfThatReplacesMetadata) {
  REQUIRE_TRAIT(copy_replaces_metadata);
  auto put = Put(Key("s"), "content", {}, Attributes());
  ASSERT_TRUE(put.has_value());
  const Result<ObjectInfo> head = Head(Key("s"));
  ASSERT_TRUE(head.has_value());
  CopyRequest copy;
  copy.source_key = copy.key = Key("s");
  copy.source_if_match = head->etag;
  copy.replace_attributes = head->attributes();
  copy.replace_attributes->metadata["file-mtime"] = "2";
  auto copied = store().Copy(copy).Get();
  ASSERT_TRUE(copied.has_value()) << copied.error().ToString();
  ObjectAttributes wanted = Attributes();
  wanted.metadata["file-mtime"] = "2";
  ExpectOn(Key("s"), wanted);
  EXPECT_EQ(Read(Key("s"), 0, 100).value_or("failed"), "content");

  ASSERT_TRUE(Put(Key("s"), "another").has_value());
  auto stale = store().Copy(copy).Get();
  ASSERT_FALSE(stale.has_value());
  EXPECT_EQ(stale.error().code(), ErrorCode::kPreconditionFailed);
}

TEST_P(KeptByCopies, ACopyUnderAnotherName) {
  ASSERT_TRUE(Put(Key("s"), "content", {}, Attributes()).has_value());
  CopyRequest copy;
  copy.source_key = Key("s");
  copy.key = Key("t");
  auto copied = store().Copy(copy).Get();
  ASSERT_TRUE(copied.has_value()) << copied.error().ToString();
  ExpectOn(Key("t"), Attributes());
}

TEST_P(KeptByCopies, ACopyInParts) {
  REQUIRE_TRAIT(upload_part_copy);
  const std::string bytes = Pattern(kMinPart + 1, 7);
  ASSERT_TRUE(Put(Key("s"), bytes, {}, Attributes()).has_value());
  Result<ObjectInfo> source = Head(Key("s"));
  ASSERT_TRUE(source.has_value());
  ThreadPool executor("copy", 1);
  CopyOptions options;
  options.max_single_bytes = 1;
  options.part_bytes = kMinPart;
  Promise<ObjectInfo> promise;
  Future<ObjectInfo> done = promise.GetFuture();
  executor.Post([&] {
    Spawn(executor,
          CopyObject(store(), executor, *source, Key("t"), {}, options),
          UniqueFunction<void(Result<ObjectInfo>)>(
              [promise = std::move(promise)](Result<ObjectInfo> r) mutable {
                promise.Set(std::move(r));
              }));
  });
  const Result<ObjectInfo> copied = std::move(done).Get();
  ASSERT_TRUE(copied.has_value()) << copied.error().ToString();
  ExpectOn(Key("t"), AttributesOfParts());
  EXPECT_TRUE(Read(Key("t"), 0, bytes.size()).value_or("failed") == bytes);
}

TEST_P(KeptByCopies, ADeleteIsOfTheVersionThatIsNamed) {
  auto first = Put(Key("d"), "first");
  ASSERT_TRUE(first.has_value());
  auto second = Put(Key("d"), "second");
  ASSERT_TRUE(second.has_value());
  auto wrong = DeleteVersion(Key("d"), first->etag);
  ASSERT_FALSE(wrong.has_value());
  EXPECT_EQ(wrong.error().code(), ErrorCode::kPreconditionFailed);
  EXPECT_EQ(Read(Key("d"), 0, 100).value_or("failed"), "second");
  auto right = DeleteVersion(Key("d"), second->etag);
  EXPECT_TRUE(right.has_value()) << right.error().ToString();
  EXPECT_EQ(Head(Key("d")).error().code(), ErrorCode::kNotFound);
  auto absent = DeleteVersion(Key("d"), second->etag);
  EXPECT_TRUE(absent.has_value()) << absent.error().ToString();
  EXPECT_EQ(store().capabilities().conditional_delete,
            traits().conditional_delete);
  // Now that it is known what the server makes of conditions.
  auto third = Put(Key("d"), "third");
  ASSERT_TRUE(third.has_value());
  wrong = DeleteVersion(Key("d"), first->etag);
  ASSERT_FALSE(wrong.has_value());
  EXPECT_EQ(wrong.error().code(), ErrorCode::kPreconditionFailed);
  EXPECT_EQ(Read(Key("d"), 0, 100).value_or("failed"), "third");
  EXPECT_TRUE(DeleteVersion(Key("d"), third->etag).has_value());
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(KeptByCopies);
INSTANTIATE_TEST_SUITE_P(Stores, KeptByCopies,
                         ::testing::ValuesIn(StoresUnderTest()),
                         [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace ckptfs::test
