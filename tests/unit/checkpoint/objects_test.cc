#include "checkpoint/engine/objects.h"

#include "checkpoint/engine/files.h"
#include "unit/checkpoint/engine_fixture.h"

namespace ckptfs {
namespace {

class ObjectsTest : public EngineTest {
 protected:
  template <typename T>
  Result<T> Run(Task<Result<T>> task) {
    return engine.runtime().Start<T>(std::move(task)).Get();
  }
  void Put(const std::string& key, std::string bytes) {
    ASSERT_TRUE(Run<void>(
        Files(engine.runtime())
            .Put("s3://bucket/" + key, std::move(bytes), WriteCondition())));
  }
  Objects objects{engine.runtime()};
};

TEST_F(ObjectsTest, APageHasFilesAndFolders) {
  Put("run/a", "abc");
  Put("run/b/c", "x");
  Put("run/d", "");
  ListRequest request;
  request.prefix = "run/";
  request.delimiter = "/";
  request.max_keys = 2;
  Result<ListResult> page =
      Run<ListResult>(objects.ListPage("bucket", request));
  ASSERT_TRUE(page);
  ASSERT_EQ(page->objects.size(), 1);
  EXPECT_EQ(page->objects[0].key, "run/a");
  EXPECT_EQ(page->objects[0].size, 3);
  EXPECT_FALSE(page->objects[0].etag.empty());
  EXPECT_EQ(page->common_prefixes, std::vector<std::string>{"run/b/"});
  ASSERT_TRUE(page->truncated);
  request.continuation_token = page->next_continuation_token;
  page = Run<ListResult>(objects.ListPage("bucket", request));
  ASSERT_TRUE(page);
  ASSERT_EQ(page->objects.size(), 1);
  EXPECT_EQ(page->objects[0].key, "run/d");
  EXPECT_FALSE(page->truncated);
}

TEST_F(ObjectsTest, InfoTellsOfAnObject) {
  Put("a", "abc");
  const Result<ObjectInfo> info =
      Run<ObjectInfo>(objects.Info("bucket", "a", {}));
  ASSERT_TRUE(info);
  EXPECT_EQ(info->size, 3);
  const Result<ObjectInfo> none =
      Run<ObjectInfo>(objects.Info("bucket", "none", {}));
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code(), ErrorCode::kNotFound);
  EXPECT_NE(none.error().message().find("s3://bucket/none"), std::string::npos);
}

TEST_F(ObjectsTest, CopyLeavesTheSource) {
  Put("a", "abc");
  ASSERT_TRUE(Run<void>(objects.Copy("bucket", "a", "b/c")));
  EXPECT_TRUE(Run<ObjectInfo>(objects.Info("bucket", "a", {})));
  EXPECT_EQ(Run<ObjectInfo>(objects.Info("bucket", "b/c", {}))->size, 3);
  const Result<void> none = Run<void>(objects.Copy("bucket", "none", "x"));
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code(), ErrorCode::kNotFound);
}

TEST_F(ObjectsTest, RemoveAllTakesAnyNumber) {
  Put("a", "");
  Put("b", "");
  ASSERT_TRUE(Run<void>(objects.RemoveAll("bucket", {"a", "none"}, {})));
  EXPECT_FALSE(Run<ObjectInfo>(objects.Info("bucket", "a", {})));
  EXPECT_TRUE(Run<ObjectInfo>(objects.Info("bucket", "b", {})));
  EXPECT_TRUE(Run<void>(objects.RemoveAll("bucket", {}, {})));
}

TEST_F(ObjectsTest, ABucketMustBeNamed) {
  const Result<void> removed = Run<void>(objects.RemoveAll("", {"a"}, {}));
  ASSERT_FALSE(removed);
  EXPECT_EQ(removed.error().code(), ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace ckptfs
