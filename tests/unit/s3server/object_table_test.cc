#include "s3server/object_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "s3server/digest.h"

namespace ckptfs::s3server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const SystemTime kNow{};

class ObjectTableTest : public ::testing::Test {
 protected:
  ObjectTableTest() : table_({.min_part_bytes = 4}) {
    table_.CreateBucket("b");
  }

  std::string Put(const std::string& key, std::string_view bytes,
                  const Conditions& conditions = {}) {
    const auto put = table_.Put("b", key, Content::FromString(bytes), "", {},
                                conditions, kNow);
    return put ? (*put)->etag : put.error().code;
  }
  std::string Get(const std::string& key) {
    const auto object = table_.Get("b", key);
    return object ? (*object)->content.ToString() : object.error().code;
  }
  std::string Upload(const std::string& key) {
    return *table_.CreateUpload("b", key, {}, kNow);
  }
  std::string PutPart(const std::string& key, const std::string& id, int number,
                      std::string_view bytes) {
    const auto etag = table_.PutPart("b", key, id, number,
                                     Content::FromString(bytes), "", kNow);
    return etag ? *etag : etag.error().code;
  }
  std::string Complete(const std::string& key, const std::string& id,
                       const std::vector<NamedPart>& parts,
                       const Conditions& conditions = {}) {
    const auto object =
        table_.CompleteUpload("b", key, id, parts, conditions, kNow);
    return object ? (*object)->etag : object.error().code;
  }
  // Keys, then common prefixes, then "..." if there is more.
  std::vector<std::string> List(const ListQuery& query) {
    const ListPage page = *table_.List("b", query);
    std::vector<std::string> names;
    for (const auto& entry : page.entries) names.push_back(entry.key);
    for (const auto& prefix : page.common_prefixes) {
      names.push_back("[" + prefix + "]");
    }
    if (page.truncated) names.push_back("...");
    return names;
  }

  ObjectTable table_;
};

TEST_F(ObjectTableTest, PutReplacesAndReadersKeepTheirVersion) {
  EXPECT_EQ(Put("k", "one"), Hex(Md5("one")));
  const ObjectPtr old = *table_.Get("b", "k");
  Put("k", "two");
  EXPECT_EQ(Get("k"), "two");
  EXPECT_EQ(old->content.ToString(), "one");
  EXPECT_TRUE(table_.Delete("b", "k", {}));
  EXPECT_EQ(Get("k"), "NoSuchKey");
  EXPECT_TRUE(table_.Delete("b", "k", {}));  // S3: no error
}

TEST_F(ObjectTableTest, ConditionsOnPut) {
  const Conditions absent{.if_none_match = "*"};
  const std::string etag = Put("k", "one", absent);
  EXPECT_EQ(Put("k", "two", absent), "PreconditionFailed");
  EXPECT_EQ(Put("k", "two", {.if_match = "\"other\""}), "PreconditionFailed");
  EXPECT_EQ(Put("none", "two", {.if_match = Quote(etag)}), "NoSuchKey");
  EXPECT_EQ(Get("k"), "one");
  EXPECT_EQ(Put("k", "two", {.if_match = Quote(etag)}), Hex(Md5("two")));
}

TEST_F(ObjectTableTest, ConditionOnDelete) {
  const std::string etag = Put("k", "one");
  const auto refused = table_.Delete("b", "k", {.if_match = "\"other\""});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().status, 412);
  EXPECT_TRUE(table_.Delete("b", "k", {.if_match = Quote(etag)}));
}

TEST_F(ObjectTableTest, Buckets) {
  EXPECT_FALSE(table_.CreateBucket("b"));
  EXPECT_TRUE(table_.CreateBucket("a"));
  EXPECT_THAT(table_.Buckets(), ElementsAre("a", "b"));
  Put("k", "x");
  EXPECT_EQ(table_.DeleteBucket("b").error().code, "BucketNotEmpty");
  EXPECT_TRUE(table_.DeleteBucket("a"));
  EXPECT_EQ(table_.DeleteBucket("a").error().code, "NoSuchBucket");
  EXPECT_EQ(table_.Get("a", "k").error().code, "NoSuchBucket");
  EXPECT_EQ(table_.List("a", {}).error().code, "NoSuchBucket");
}

TEST_F(ObjectTableTest, ListsInOrderOfBytes) {
  for (const char* key : {"b", "a", "\xff", "\xc3\xa9", "A", "a/"}) {
    Put(key, "x");
  }
  EXPECT_THAT(List({}), ElementsAre("A", "a", "a/", "b", "\xc3\xa9", "\xff"));
}

TEST_F(ObjectTableTest, ListsByPrefixAndDelimiter) {
  for (const char* key : {"a/1", "a/2", "ab", "b/c/1", "b/d", "z"}) {
    Put(key, "x");
  }
  EXPECT_THAT(List({.prefix = "a"}), ElementsAre("a/1", "a/2", "ab"));
  EXPECT_THAT(List({.delimiter = "/"}), ElementsAre("ab", "z", "[a/]", "[b/]"));
  EXPECT_THAT(List({.prefix = "b/", .delimiter = "/"}),
              ElementsAre("b/d", "[b/c/]"));
  EXPECT_THAT(List({.prefix = "b", .delimiter = "/"}), ElementsAre("[b/]"));
  EXPECT_THAT(List({.prefix = "none"}), IsEmpty());
  EXPECT_THAT(List({.after = "ab"}), ElementsAre("b/c/1", "b/d", "z"));
  EXPECT_THAT(List({.prefix = "b/", .after = "a"}),
              ElementsAre("b/c/1", "b/d"));
  EXPECT_THAT(List({.prefix = "a", .after = "b"}), IsEmpty());
  EXPECT_THAT(List({.delimiter = "/", .after = "a/"}),
              ElementsAre("ab", "z", "[b/]"));
  EXPECT_THAT(List({.max_keys = 0}), IsEmpty());
}

TEST_F(ObjectTableTest, PagesAreWholeWhateverTheirSize) {
  for (const char* key :
       {"a/1", "a/2", "b", "c/1", "d", "e/\xff", "e/\xff\xff", "f"}) {
    Put(key, "x");
  }
  for (std::size_t size = 1; size <= 7; ++size) {
    std::vector<std::string> names;
    ListQuery query{.delimiter = "/", .max_keys = size};
    for (bool more = true; more;) {
      const ListPage page = *table_.List("b", query);
      ASSERT_LE(page.entries.size() + page.common_prefixes.size(), size);
      for (const auto& entry : page.entries) names.push_back(entry.key);
      for (const auto& prefix : page.common_prefixes) names.push_back(prefix);
      more = page.truncated;
      query.after = page.last;
    }
    EXPECT_THAT(names,
                testing::UnorderedElementsAre("a/", "b", "c/", "d", "e/", "f"));
  }
}

TEST_F(ObjectTableTest, ExactlyFullPageIsNotTruncated) {
  Put("a", "x");
  Put("b", "x");
  EXPECT_THAT(List({.max_keys = 2}), ElementsAre("a", "b"));
  EXPECT_THAT(List({.max_keys = 1}), ElementsAre("a", "..."));
}

TEST_F(ObjectTableTest, MultipartJoinsTheNamedParts) {
  const std::string id = Upload("k");
  const std::string one = PutPart("k", id, 1, "aaaa");
  PutPart("k", id, 2, "unused");
  const std::string nine = PutPart("k", id, 9, "b");
  EXPECT_EQ(Get("k"), "NoSuchKey");
  EXPECT_EQ(Complete("k", id, {{1, Quote(one)}, {9, nine}}),
            Hex(Md5(Md5("aaaa") + Md5("b"))) + "-2");
  EXPECT_EQ(Get("k"), "aaaab");
  EXPECT_EQ(Complete("k", id, {{1, one}}), "NoSuchUpload");
  EXPECT_EQ(PutPart("k", id, 1, "x"), "NoSuchUpload");
}

TEST_F(ObjectTableTest, PartsAreReplaced) {
  const std::string id = Upload("k");
  const std::string old = PutPart("k", id, 1, "old");
  const std::string now = PutPart("k", id, 1, "now");
  EXPECT_EQ(Complete("k", id, {{1, old}}), "InvalidPart");
  EXPECT_EQ(Complete("k", id, {{1, now}}), Hex(Md5(Md5("now"))) + "-1");
}

TEST_F(ObjectTableTest, CompleteChecksTheList) {
  const std::string id = Upload("k");
  const std::string one = PutPart("k", id, 1, "sml");
  const std::string two = PutPart("k", id, 2, "long enough");
  EXPECT_EQ(Complete("k", id, {}), "MalformedXML");
  EXPECT_EQ(Complete("k", id, {{2, two}, {1, one}}), "InvalidPartOrder");
  EXPECT_EQ(Complete("k", id, {{1, one}, {1, one}}), "InvalidPartOrder");
  EXPECT_EQ(Complete("k", id, {{1, one}, {2, two}}), "EntityTooSmall");
  EXPECT_EQ(Complete("k", id, {{3, two}}), "InvalidPart");
  EXPECT_EQ(Complete("other", id, {{2, two}}), "NoSuchUpload");
  EXPECT_EQ(Get("k"), "NoSuchKey");
  // The upload is still open after all that.
  EXPECT_TRUE(table_.CheckUpload("b", "k", id));
}

TEST_F(ObjectTableTest, CompleteKeepsConditions) {
  const std::string etag = Put("k", "old");
  const std::string id = Upload("k");
  const std::string one = PutPart("k", id, 1, "new");
  EXPECT_EQ(Complete("k", id, {{1, one}}, {.if_none_match = "*"}),
            "PreconditionFailed");
  EXPECT_EQ(Complete("k", id, {{1, one}}, {.if_match = "\"other\""}),
            "PreconditionFailed");
  EXPECT_EQ(Get("k"), "old");
  Complete("k", id, {{1, one}}, {.if_match = Quote(etag)});
  EXPECT_EQ(Get("k"), "new");
}

TEST_F(ObjectTableTest, AbortForgetsTheUpload) {
  const std::string id = Upload("k");
  const std::string one = PutPart("k", id, 1, "x");
  EXPECT_EQ(table_.AbortUpload("b", "other", id).error().code, "NoSuchUpload");
  EXPECT_TRUE(table_.AbortUpload("b", "k", id));
  EXPECT_EQ(table_.AbortUpload("b", "k", id).error().code, "NoSuchUpload");
  EXPECT_EQ(Complete("k", id, {{1, one}}), "NoSuchUpload");
  EXPECT_THAT(*table_.Uploads("b", ""), IsEmpty());
}

TEST_F(ObjectTableTest, UploadsAreListedByKey) {
  Upload("z");
  const std::string id = Upload("dir/a");
  Upload("dir/b");
  PutPart("dir/a", id, 3, "xyz");
  const auto uploads = *table_.Uploads("b", "dir/");
  ASSERT_EQ(uploads.size(), 2u);
  EXPECT_EQ(uploads[0].key, "dir/a");
  EXPECT_EQ(uploads[0].id, id);
  EXPECT_EQ(uploads[0].parts.at(3).content.size(), 3u);
  EXPECT_EQ(uploads[1].key, "dir/b");
}

TEST(OpaqueObjectTableTest, TagsChangeWithEveryVersion) {
  ObjectTable table({.opaque_etags = true, .rebase_patterns = true});
  table.CreateBucket("b");
  const auto put = [&table] {
    return (*table.Put("b", "k", Content::FromString("same"), "", {}, {}, kNow))
        ->etag;
  };
  EXPECT_NE(put(), put());
}

TEST(OpaqueObjectTableTest, DiscardedPartsReadAsOnePattern) {
  ObjectTable table(
      {.min_part_bytes = 1, .opaque_etags = true, .rebase_patterns = true});
  table.CreateBucket("b");
  const std::string id = *table.CreateUpload("b", "k", {}, kNow);
  std::vector<NamedPart> parts;
  for (const int number : {1, 2}) {
    parts.push_back(
        {number, *table.PutPart("b", "k", id, number, Content::Pattern(0, 5000),
                                "", kNow)});
  }
  const auto object = table.CompleteUpload("b", "k", id, parts, {}, kNow);
  ASSERT_TRUE(object);
  EXPECT_EQ((*object)->content.ToString(),
            Content::Pattern(0, 10000).ToString());
}

}  // namespace
}  // namespace ckptfs::s3server
