// Head, Get, Put, Delete and their conditions.
#include <span>
#include <utility>

#include "conformance/store_fixture.h"

namespace ckptfs::test {
namespace {

class Objects : public ObjectStoreTest {};

#define REQUIRE_TRAIT(flag) \
  if (!traits().flag) GTEST_SKIP() << "this store lacks: " #flag

TEST_P(Objects, PutThenGetGivesTheSameBytes) {
  const std::string bytes = Pattern(100'000, 1);
  auto put = Put(Key("a"), bytes);
  ASSERT_TRUE(put.has_value()) << put.error().ToString();
  EXPECT_FALSE(put->etag.empty());
  auto read = Read(Key("a"), 0, bytes.size());
  ASSERT_TRUE(read.has_value()) << read.error().ToString();
  EXPECT_EQ(*read, bytes);
}

TEST_P(Objects, PutGathersAndGetScatters) {
  const std::string bytes = Pattern(3'000'000, 2);
  PutRequest put;
  put.key = Key("gather");
  auto owner = std::make_shared<const std::string>(bytes);
  const auto all = std::as_bytes(std::span(*owner));
  put.payload.segments = {all.subspan(0, 1), all.subspan(1, 0),
                          all.subspan(1, 999'999), all.subspan(1'000'000)};
  put.payload.owner = owner;
  auto done = store().Put(std::move(put)).Get();
  ASSERT_TRUE(done.has_value()) << done.error().ToString();

  auto a = std::make_shared<std::string>(700'001, '-');
  auto b = std::make_shared<std::string>(2'299'999, '-');
  GetRequest get;
  get.key = Key("gather");
  get.destination.segments = {std::as_writable_bytes(std::span(*a)),
                              std::as_writable_bytes(std::span(*b))};
  get.destination.owner =
      std::make_shared<std::pair<decltype(a), decltype(b)>>(a, b);
  auto got = store().Get(std::move(get)).Get();
  ASSERT_TRUE(got.has_value()) << got.error().ToString();
  EXPECT_EQ(got->bytes, bytes.size());
  EXPECT_EQ(*a + *b, bytes);
}

TEST_P(Objects, EmptyObject) {
  ASSERT_TRUE(Put(Key("empty"), "").has_value());
  auto head = Head(Key("empty"));
  ASSERT_TRUE(head.has_value()) << head.error().ToString();
  EXPECT_EQ(head->size, 0u);
  auto read = Read(Key("empty"), 0, 10);
  ASSERT_TRUE(read.has_value()) << read.error().ToString();
  EXPECT_EQ(*read, "");
}

TEST_P(Objects, RangesAreExact) {
  const std::string bytes = Pattern(10'000, 3);
  ASSERT_TRUE(Put(Key("r"), bytes).has_value());
  const std::pair<std::uint64_t, std::size_t> ranges[] = {
      {0, 1}, {9'999, 1}, {1'000, 5'000}, {0, 10'000}};
  for (const auto& [offset, size] : ranges) {
    auto read = Read(Key("r"), offset, size);
    ASSERT_TRUE(read.has_value()) << read.error().ToString();
    EXPECT_EQ(*read, bytes.substr(offset, size));
  }
}

TEST_P(Objects, RangeBeyondTheEndIsShort) {
  const std::string bytes = Pattern(1'000, 4);
  ASSERT_TRUE(Put(Key("s"), bytes).has_value());
  auto across = Read(Key("s"), 900, 500);
  ASSERT_TRUE(across.has_value()) << across.error().ToString();
  EXPECT_EQ(*across, bytes.substr(900));
  for (const std::uint64_t offset :
       {std::uint64_t{1'000}, std::uint64_t{5'000}}) {
    auto beyond = Read(Key("s"), offset, 10);
    ASSERT_TRUE(beyond.has_value()) << beyond.error().ToString();
    EXPECT_EQ(*beyond, "");
  }
}

TEST_P(Objects, GetTellsAboutTheWholeObject) {
  ObjectAttributes attributes;
  attributes.content_type = "application/x-test";
  attributes.metadata = {{"file-mtime", "123"}, {kNonceMetadataName, "n1"}};
  auto put = Put(Key("info"), "0123456789", {}, attributes);
  ASSERT_TRUE(put.has_value());
  auto buffer = std::make_shared<std::string>(3, ' ');
  GetRequest get;
  get.key = Key("info");
  get.offset = 4;
  get.destination.segments = {std::as_writable_bytes(std::span(*buffer))};
  get.destination.owner = buffer;
  auto got = store().Get(std::move(get)).Get();
  ASSERT_TRUE(got.has_value()) << got.error().ToString();
  EXPECT_EQ(*buffer, "456");
  EXPECT_EQ(got->bytes, 3u);
  EXPECT_EQ(got->info.size, 10u);
  EXPECT_EQ(got->info.etag, put->etag);
  EXPECT_EQ(got->info.content_type, "application/x-test");
  EXPECT_EQ(got->info.metadata.at("file-mtime"), "123");
  EXPECT_EQ(got->info.metadata.at(kNonceMetadataName), "n1");
}

TEST_P(Objects, HeadTellsAttributes) {
  ObjectAttributes attributes;
  attributes.metadata = {{"file-permissions", "0100644"},
                         {"file-atime", "1700000000123456789ns"},
                         {"spaces", "a  b"}};
  const auto before =
      std::chrono::system_clock::now() - std::chrono::minutes(5);
  auto put = Put(Key("meta"), "xyz", {}, attributes);
  ASSERT_TRUE(put.has_value()) << put.error().ToString();
  auto head = Head(Key("meta"));
  ASSERT_TRUE(head.has_value()) << head.error().ToString();
  EXPECT_EQ(head->key, Key("meta"));
  EXPECT_EQ(head->size, 3u);
  EXPECT_EQ(head->etag, put->etag);
  EXPECT_EQ(head->metadata.at("file-permissions"), "0100644");
  EXPECT_EQ(head->metadata.at("file-atime"), "1700000000123456789ns");
  EXPECT_EQ(head->metadata.at("spaces"), "a  b");
  EXPECT_EQ(head->content_type, "binary/octet-stream");
  EXPECT_GT(head->last_modified, before);
}

TEST_P(Objects, OverwriteReplacesContentAndAttributes) {
  ObjectAttributes attributes;
  attributes.metadata = {{"old", "1"}};
  auto first = Put(Key("o"), "one", {}, attributes);
  auto second = Put(Key("o"), "two-two");
  ASSERT_TRUE(first.has_value() && second.has_value());
  EXPECT_NE(first->etag, second->etag);
  auto head = Head(Key("o"));
  ASSERT_TRUE(head.has_value());
  EXPECT_EQ(head->etag, second->etag);
  EXPECT_FALSE(head->metadata.contains("old"));
  EXPECT_EQ(Read(Key("o"), 0, 100).value_or("failed"), "two-two");
}

TEST_P(Objects, AbsentKeyIsNotFound) {
  auto head = Head(Key("absent"));
  ASSERT_FALSE(head.has_value());
  EXPECT_EQ(head.error().code(), ErrorCode::kNotFound);
  auto read = Read(Key("absent"), 0, 10);
  ASSERT_FALSE(read.has_value());
  EXPECT_EQ(read.error().code(), ErrorCode::kNotFound);
}

TEST_P(Objects, DeleteIsIdempotent) {
  ASSERT_TRUE(Put(Key("d"), "x").has_value());
  for (int i = 0; i < 2; ++i) {
    auto deleted = store().Delete({Key("d"), {}}).Get();
    EXPECT_TRUE(deleted.has_value()) << deleted.error().ToString();
  }
  EXPECT_EQ(Head(Key("d")).error().code(), ErrorCode::kNotFound);
}

TEST_P(Objects, DeleteManyDeletesAbsentOnesToo) {
  std::vector<std::string> keys;
  for (int i = 0; i < 25; ++i) {
    keys.push_back(Key("many/" + std::to_string(i) + " &<+%"));
    ASSERT_TRUE(Put(keys.back(), "x").has_value());
  }
  ASSERT_TRUE(Put(Key("kept"), "x").has_value());
  keys.push_back(Key("never-there"));
  auto deleted = store().DeleteMany({keys, {}}).Get();
  ASSERT_TRUE(deleted.has_value()) << deleted.error().ToString();
  EXPECT_TRUE(deleted->failures.empty());
  EXPECT_EQ(ListAll(prefix()), std::vector<std::string>{Key("kept")});
}

TEST_P(Objects, DeleteManyOfNothingSucceeds) {
  auto deleted = store().DeleteMany({}).Get();
  ASSERT_TRUE(deleted.has_value()) << deleted.error().ToString();
  EXPECT_TRUE(deleted->failures.empty());
}

TEST_P(Objects, PinnedReadOfAReplacedObjectFails) {
  auto first = Put(Key("p"), "version one");
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(Read(Key("p"), 0, 100, first->etag).value_or("failed"),
            "version one");
  ASSERT_TRUE(Put(Key("p"), "version two").has_value());
  auto stale = Read(Key("p"), 0, 100, first->etag);
  ASSERT_FALSE(stale.has_value());
  EXPECT_EQ(stale.error().code(), ErrorCode::kPreconditionFailed);
}

TEST_P(Objects, PinnedReadBeyondTheEndStillChecksThePin) {
  auto first = Put(Key("pe"), "0123456789");
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(Read(Key("pe"), 50, 10, first->etag).value_or("failed"), "");
  ASSERT_TRUE(Put(Key("pe"), "short").has_value());
  auto stale = Read(Key("pe"), 50, 10, first->etag);
  ASSERT_FALSE(stale.has_value());
  EXPECT_EQ(stale.error().code(), ErrorCode::kPreconditionFailed);
}

TEST_P(Objects, ReadOfNothingTellsAboutTheObject) {
  auto put = Put(Key("z"), "12345");
  ASSERT_TRUE(put.has_value());
  GetRequest get;
  get.key = Key("z");
  auto got = store().Get(std::move(get)).Get();
  ASSERT_TRUE(got.has_value()) << got.error().ToString();
  EXPECT_EQ(got->bytes, 0u);
  EXPECT_EQ(got->info.size, 5u);
  EXPECT_EQ(got->info.etag, put->etag);
}

TEST_P(Objects, PutIfAbsent) {
  REQUIRE_TRAIT(conditional_put);
  WriteCondition absent;
  absent.if_none_match = true;
  auto first = Put(Key("c"), "first", absent);
  ASSERT_TRUE(first.has_value()) << first.error().ToString();
  auto second = Put(Key("c"), "second", absent);
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code(), ErrorCode::kPreconditionFailed);
  EXPECT_EQ(Read(Key("c"), 0, 100).value_or("failed"), "first");
}

TEST_P(Objects, PutIfMatch) {
  REQUIRE_TRAIT(conditional_put);
  auto first = Put(Key("m"), "first");
  ASSERT_TRUE(first.has_value());
  WriteCondition same;
  same.if_match = first->etag;
  auto second = Put(Key("m"), "second", same);
  ASSERT_TRUE(second.has_value()) << second.error().ToString();
  auto third = Put(Key("m"), "third", same);
  ASSERT_FALSE(third.has_value());
  EXPECT_EQ(third.error().code(), ErrorCode::kPreconditionFailed);
  EXPECT_EQ(Read(Key("m"), 0, 100).value_or("failed"), "second");
}

TEST_P(Objects, PutIfMatchOfAnAbsentKeyFails) {
  REQUIRE_TRAIT(conditional_put);
  WriteCondition same;
  same.if_match = ETag{"\"0123456789abcdef0123456789abcdef\""};
  auto put = Put(Key("absent"), "x", same);
  ASSERT_FALSE(put.has_value());
  EXPECT_EQ(put.error().code(), ErrorCode::kPreconditionFailed);
  EXPECT_EQ(Head(Key("absent")).error().code(), ErrorCode::kNotFound);
}

TEST_P(Objects, RefusesWhatNoStoreTakes) {
  EXPECT_EQ(Put("", "x").error().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(Put(std::string(1025, 'k'), "x").error().code(),
            ErrorCode::kNameTooLong);
}

TEST_P(Objects, AStopThatCameFirstCancels) {
  std::stop_source stop;
  stop.request_stop();
  HeadRequest head;
  head.key = Key("h");
  head.options.stop = stop.get_token();
  auto result = store().Head(std::move(head)).Get();
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().code(), ErrorCode::kCancelled);
}

TEST_P(Objects, ManyAtOnce) {
  std::vector<Future<PutResult>> running;
  for (int i = 0; i < 100; ++i) {
    PutRequest put;
    put.key = Key("at-once/" + std::to_string(i));
    put.payload = PayloadOf(Pattern(1'000 + i, i));
    running.push_back(store().Put(std::move(put)));
  }
  for (auto& f : running) {
    auto put = std::move(f).Get();
    ASSERT_TRUE(put.has_value()) << put.error().ToString();
  }
  for (int i = 0; i < 100; i += 9) {
    EXPECT_EQ(
        Read(Key("at-once/" + std::to_string(i)), 0, 5'000).value_or("failed"),
        Pattern(1'000 + i, i));
  }
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Objects);
INSTANTIATE_TEST_SUITE_P(Stores, Objects,
                         ::testing::ValuesIn(StoresUnderTest()),
                         [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace ckptfs::test
