// Keys no path would hold, and listings of them.
#include <algorithm>
#include <set>

#include "conformance/store_fixture.h"

namespace ckptfs::test {
namespace {

class Keys : public ObjectStoreTest {
 protected:
  // Put, head, get, list, copy and delete `name`.
  void ExpectWholeLife(const std::string& name) {
    SCOPED_TRACE("key \"" + name + "\"");
    const std::string key = Key(name);
    const std::string bytes = "content of " + name;
    auto put = Put(key, bytes);
    ASSERT_TRUE(put.has_value()) << put.error().ToString();
    auto head = Head(key);
    ASSERT_TRUE(head.has_value()) << head.error().ToString();
    EXPECT_EQ(head->size, bytes.size());
    EXPECT_EQ(Read(key, 0, 2'000).value_or("failed"), bytes);
    EXPECT_EQ(ListAll(prefix()), std::vector<std::string>{key});
    CopyRequest copy;
    copy.source_key = key;
    copy.key = Key("copy");
    auto copied = store().Copy(std::move(copy)).Get();
    ASSERT_TRUE(copied.has_value()) << copied.error().ToString();
    EXPECT_EQ(Read(Key("copy"), 0, 2'000).value_or("failed"), bytes);
    auto deleted = store().DeleteMany({{key, Key("copy")}, {}}).Get();
    ASSERT_TRUE(deleted.has_value()) << deleted.error().ToString();
    EXPECT_TRUE(deleted->failures.empty());
    EXPECT_TRUE(ListAll(prefix()).empty());
  }
};

#define REQUIRE_TRAIT(flag) \
  if (!traits().flag) GTEST_SKIP() << "this store lacks: " #flag

TEST_P(Keys, Punctuation) {
  for (const char* name :
       {"with space", "a+b", "100%", "a%2Fb", "a&b=c;d", "q?x#y", "'\"<>",
        "(){}[]!*$,@:~", "back\\slash", "^`|"}) {
    ExpectWholeLife(name);
  }
}

TEST_P(Keys, Unicode) {
  for (const char* name :
       {"\xC3\xA4\xC3\xB6\xC3\xBC", "\xE6\x97\xA5\xE6\x9C\xAC",
        "\xF0\x9F\x98\x80", "e\xCC\x81"}) {
    ExpectWholeLife(name);
  }
}

TEST_P(Keys, Slashes) {
  REQUIRE_TRAIT(slash_keys);
  for (const char* name : {"a//b", "/lead", "trail/", "//", "a///"}) {
    ExpectWholeLife(name);
  }
}

TEST_P(Keys, DotSegments) {
  REQUIRE_TRAIT(dot_segment_keys);
  for (const char* name : {"../x", "a/../b", "./x", "a/./b", "..", "."}) {
    ExpectWholeLife(name);
  }
}

TEST_P(Keys, ControlCharacters) {
  REQUIRE_TRAIT(control_characters);
  for (const char* name : {"tab\tkey", "line\nkey", "return\rkey", "one\x01key",
                           "del\x7f"
                           "key"}) {
    ExpectWholeLife(name);
  }
}

TEST_P(Keys, LongestKey) {
  REQUIRE_TRAIT(long_keys);
  // Segments of 200, for stores that keep objects as files.
  std::string name;
  while (prefix().size() + name.size() < 1024) {
    name += name.size() % 200 == 199 ? '/' : 'k';
  }
  ExpectWholeLife(name);
}

TEST_P(Keys, ListingIsInByteOrder) {
  REQUIRE_TRAIT(byte_order_listing);
  std::vector<std::string> keys;
  for (const char* name :
       {"B", "a", "a-", "a/", "a/b", "a0", "\xC3\xA4", "Z"}) {
    keys.push_back(Key(name));
    ASSERT_TRUE(Put(keys.back(), "x").has_value());
  }
  std::sort(keys.begin(), keys.end());
  EXPECT_EQ(ListAll(prefix()), keys);
}

TEST_P(Keys, PagesCoverEverythingOnce) {
  std::vector<std::string> keys;
  for (int i = 0; i < 23; ++i) {
    keys.push_back(Key("page/" + std::string(i < 10 ? "0" : "") +
                       std::to_string(i) + " +%"));
    ASSERT_TRUE(Put(keys.back(), "x").has_value());
  }
  EXPECT_EQ(ListAll(Key("page/"), 5), keys);
  EXPECT_EQ(ListAll(Key("page/"), 23), keys);
}

TEST_P(Keys, ListingTellsSizeAndETag) {
  auto put = Put(Key("f"), "12345");
  ASSERT_TRUE(put.has_value());
  ListRequest list;
  list.prefix = Key("f");
  auto page = store().List(std::move(list)).Get();
  ASSERT_TRUE(page.has_value()) << page.error().ToString();
  ASSERT_EQ(page->objects.size(), 1u);
  EXPECT_EQ(page->objects[0].size, 5u);
  EXPECT_EQ(page->objects[0].etag, put->etag);
  EXPECT_GT(page->objects[0].last_modified.time_since_epoch().count(), 0);
  EXPECT_FALSE(page->truncated);
}

TEST_P(Keys, DelimiterGroups) {
  for (const char* name : {"d/1", "d/2", "e/f/g", "top", "zz"}) {
    ASSERT_TRUE(Put(Key(name), "x").has_value());
  }
  ListRequest list;
  list.prefix = prefix();
  list.delimiter = "/";
  auto page = store().List(list).Get();
  ASSERT_TRUE(page.has_value()) << page.error().ToString();
  std::vector<std::string> objects;
  for (const auto& o : page->objects) objects.push_back(o.key);
  EXPECT_EQ(objects, (std::vector<std::string>{Key("top"), Key("zz")}));
  EXPECT_EQ(page->common_prefixes,
            (std::vector<std::string>{Key("d/"), Key("e/")}));
}

TEST_P(Keys, DelimiterPages) {
  std::set<std::string> expected;
  for (int i = 0; i < 7; ++i) {
    const std::string dir = "dir" + std::to_string(i) + "/";
    ASSERT_TRUE(Put(Key(dir + "a"), "x").has_value());
    ASSERT_TRUE(Put(Key(dir + "b"), "x").has_value());
    ASSERT_TRUE(Put(Key("file" + std::to_string(i)), "x").has_value());
    expected.insert(Key(dir));
    expected.insert(Key("file" + std::to_string(i)));
  }
  std::vector<std::string> seen;
  ListRequest list;
  list.prefix = prefix();
  list.delimiter = "/";
  list.max_keys = 3;
  for (int page_number = 0; page_number < 20; ++page_number) {
    auto page = store().List(list).Get();
    ASSERT_TRUE(page.has_value()) << page.error().ToString();
    EXPECT_LE(page->objects.size() + page->common_prefixes.size(), 3u);
    for (const auto& o : page->objects) seen.push_back(o.key);
    for (const auto& p : page->common_prefixes) seen.push_back(p);
    if (!page->truncated) break;
    list.continuation_token = page->next_continuation_token;
  }
  EXPECT_EQ(seen.size(), expected.size());
  EXPECT_EQ(std::set<std::string>(seen.begin(), seen.end()), expected);
}

TEST_P(Keys, StartAfter) {
  for (const char* name : {"a", "b", "c"}) {
    ASSERT_TRUE(Put(Key(name), "x").has_value());
  }
  ListRequest list;
  list.prefix = prefix();
  list.start_after = Key("a");
  auto page = store().List(std::move(list)).Get();
  ASSERT_TRUE(page.has_value()) << page.error().ToString();
  ASSERT_EQ(page->objects.size(), 2u);
  EXPECT_EQ(page->objects[0].key, Key("b"));
}

TEST_P(Keys, EmptyListing) {
  ListRequest list;
  list.prefix = Key("nothing/");
  auto page = store().List(std::move(list)).Get();
  ASSERT_TRUE(page.has_value()) << page.error().ToString();
  EXPECT_TRUE(page->objects.empty());
  EXPECT_FALSE(page->truncated);
}

TEST_P(Keys, AKeyMayAlsoBeAPrefix) {
  REQUIRE_TRAIT(key_and_prefix);
  ASSERT_TRUE(Put(Key("x"), "object").has_value());
  ASSERT_TRUE(Put(Key("x/y"), "below").has_value());
  EXPECT_EQ(Read(Key("x"), 0, 100).value_or("failed"), "object");
  EXPECT_EQ(Read(Key("x/y"), 0, 100).value_or("failed"), "below");
  EXPECT_EQ(ListAll(prefix()),
            (std::vector<std::string>{Key("x"), Key("x/y")}));
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Keys);
INSTANTIATE_TEST_SUITE_P(Stores, Keys, ::testing::ValuesIn(StoresUnderTest()),
                         [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace ckptfs::test
