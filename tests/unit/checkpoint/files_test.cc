#include "checkpoint/engine/files.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <iterator>

#include "unit/checkpoint/engine_fixture.h"

namespace ckptfs {
namespace {

// The same calls on objects and on plain files.
class FilesTest : public EngineTest,
                  public ::testing::WithParamInterface<bool> {
 protected:
  std::string Path(const std::string& name) const {
    return JoinPath(GetParam() ? "s3://bucket/run" : folder, name);
  }
  template <typename T>
  Result<T> Run(Task<Result<T>> task) {
    return engine.runtime().Start<T>(std::move(task)).Get();
  }
  Result<void> Put(const std::string& name, std::string bytes,
                   WriteCondition condition = {}) {
    return Run<void>(files.Put(Path(name), std::move(bytes), condition));
  }
  Result<std::string> Get(const std::string& name,
                          std::uint64_t max_bytes = 64 << 20) {
    return Run<std::string>(files.GetAll(Path(name), max_bytes, {}));
  }
  Files files{engine.runtime()};
};

TEST_P(FilesTest, WhatIsPutIsThere) {
  EXPECT_FALSE(*Run<bool>(files.Exists(Path("a"))));
  for (const std::size_t size : {0, 1, 1 << 20, (1 << 20) + 1, 12 << 20}) {
    const std::string bytes(size, static_cast<char>('a' + size % 7));
    ASSERT_TRUE(Put("a", bytes));
    EXPECT_EQ(Get("a"), bytes);
  }
  EXPECT_TRUE(*Run<bool>(files.Exists(Path("a"))));
}

TEST_P(FilesTest, ConditionsHold) {
  WriteCondition only_new;
  only_new.if_none_match = true;
  EXPECT_TRUE(Put("a", "first", only_new));
  const Result<void> second = Put("a", "second", only_new);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), ErrorCode::kPreconditionFailed);
  EXPECT_EQ(Get("a"), "first");
}

// Its slash would be dropped, and the file be called as a folder of others.
TEST_P(FilesTest, AFolderIsNoNameToWriteTo) {
  const Result<void> put = Put("folder/", "bytes");
  ASSERT_FALSE(put);
  EXPECT_EQ(put.error().code(), ErrorCode::kInvalidArgument);
  EXPECT_NE(put.error().message().find(Path("folder/")), std::string::npos);
  EXPECT_FALSE(*Run<bool>(files.Exists(Path("folder"))));
}

// [S-69] Without the slash each of these would be of a file beside the folder.
TEST_P(FilesTest, ASlashAtTheEndIsNotDropped) {
  ASSERT_TRUE(Put("a", "bytes"));
  EXPECT_FALSE(*Run<bool>(files.Exists(Path("a/"))));
  EXPECT_EQ(Get("a/").error().code(), ErrorCode::kInvalidArgument);
  for (const Result<void>& result :
       {Run<void>(files.Remove(Path("a/"))),
        Run<void>(files.Rename(Path("a/"), Path("b"))),
        Run<void>(files.Rename(Path("a"), Path("b/")))}) {
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code(), ErrorCode::kInvalidArgument);
  }
  EXPECT_EQ(Get("a"), "bytes");
}

TEST_P(FilesTest, ARenameToTheSameNameChangesNothing) {
  ASSERT_TRUE(Put("a", "bytes"));
  EXPECT_TRUE(Run<void>(files.Rename(Path("a"), Path("a"))));
  EXPECT_EQ(Get("a"), "bytes");
  EXPECT_FALSE(Run<void>(files.Rename(Path("b"), Path("b"))));
}

// [S-69] Each with another that it fits as a pattern, means as an escape, or
// begins.
TEST_P(FilesTest, NamesAreTakenLetterByLetter) {
  const std::pair<std::string, std::string> names[] = {
      {"run[1]", "run1"}, {"run?", "runA"},   {"run*", "run-best"},
      {"a%20b", "a b"},   {"a+b", "a b"},     {"x#1", "x"},
      {"x?y=1", "x"},     {"x&amp;y", "x&y"}, {"{0}", "0"},
      {"run1", "run10"},  {"~", "home"},      {"$HOME", "HOME"}};
  for (const auto& [name, other] : names) {
    for (const std::string& each : {name, other}) {
      ASSERT_TRUE(Run<void>(files.MakeFolder(Path(each + ".d"))));
      ASSERT_TRUE(Put(each, each));
      ASSERT_TRUE(Put(each + ".d/" + each, each));
    }
    EXPECT_EQ(*Run<std::vector<std::string>>(files.List(Path(name + ".d"))),
              std::vector<std::string>{name});
    ASSERT_TRUE(Run<void>(files.Rename(Path(name), Path(name + ".new"))));
    EXPECT_EQ(Get(name + ".new"), name);
    EXPECT_FALSE(*Run<bool>(files.Exists(Path(name))));
    EXPECT_EQ(Get(other), other);
    ASSERT_TRUE(Run<void>(files.Remove(Path(name + ".new"))));
    ASSERT_TRUE(Run<void>(files.Remove(Path(name + ".d/" + name))));
    EXPECT_EQ(Get(other), other);
    EXPECT_EQ(Get(other + ".d/" + other), other);
    ASSERT_TRUE(Run<void>(files.Remove(Path(other))));
    ASSERT_TRUE(Run<void>(files.Remove(Path(other + ".d/" + other))));
  }
}

TEST_P(FilesTest, AFileThatIsTooLongIsNotRead) {
  ASSERT_TRUE(Put("a", std::string(1001, 'x')));
  const Result<std::string> bytes = Get("a", 1000);
  ASSERT_FALSE(bytes);
  EXPECT_EQ(bytes.error().code(), ErrorCode::kTooLarge);
  EXPECT_NE(bytes.error().message().find(Path("a")), std::string::npos);
}

TEST_P(FilesTest, AFileThatIsNotThere) {
  EXPECT_EQ(Get("a").error().code(), ErrorCode::kNotFound);
  EXPECT_TRUE(Run<void>(files.Remove(Path("a"))));
  EXPECT_EQ(Run<void>(files.Rename(Path("a"), Path("b"))).error().code(),
            ErrorCode::kNotFound);
}

TEST_P(FilesTest, RenameReplaces) {
  ASSERT_TRUE(Put("a", "new"));
  ASSERT_TRUE(Put("b", "old"));
  ASSERT_TRUE(Run<void>(files.Rename(Path("a"), Path("b"))));
  EXPECT_EQ(Get("b"), "new");
  EXPECT_FALSE(*Run<bool>(files.Exists(Path("a"))));
}

TEST_P(FilesTest, FoldersListTheirFiles) {
  ASSERT_TRUE(Run<void>(files.MakeFolder(Path("x/y"))));
  ASSERT_TRUE(Run<void>(files.MakeFolder(Path("x/y"))));
  ASSERT_TRUE(Put("x/b", "1"));
  ASSERT_TRUE(Put("x/a", "2"));
  ASSERT_TRUE(Put("x/y/c", "3"));
  EXPECT_EQ(Run<std::vector<std::string>>(files.List(Path("x"))),
            (std::vector<std::string>{"a", "b"}));
}

TEST_P(FilesTest, OtherPlacesCannotBeRenamedTo) {
  ASSERT_TRUE(Put("a", "1"));
  const std::string other = GetParam() ? folder + "/b" : "s3://bucket/b";
  const Result<void> renamed = Run<void>(files.Rename(Path("a"), other));
  ASSERT_FALSE(renamed);
  EXPECT_EQ(renamed.error().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(Get("a"), "1");
}

class PlainFilesTest : public EngineTest {
 protected:
  Result<void> Put(const std::string& path, std::string bytes) {
    return engine.runtime()
        .Start<void>(files.Put(path, std::move(bytes), {}))
        .Get();
  }
  Result<std::string> Get(const std::string& path) {
    return engine.runtime()
        .Start<std::string>(files.GetAll(path, 1 << 20, {}))
        .Get();
  }
  std::size_t Names() const {
    const std::filesystem::directory_iterator names(folder);
    return static_cast<std::size_t>(std::distance(begin(names), end(names)));
  }
  Files files{engine.runtime()};
};

TEST_F(PlainFilesTest, TheModeOfWhatIsReplacedIsKept) {
  const std::string path = JoinPath(folder, "private");
  ASSERT_TRUE(Put(path, "old"));
  ASSERT_EQ(chmod(path.c_str(), 0600), 0);
  ASSERT_TRUE(Put(path, "new"));
  struct stat st{};
  ASSERT_EQ(stat(path.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
  EXPECT_EQ(Get(path), "new");
}

TEST_F(PlainFilesTest, LinksAreFollowed) {
  const std::string link = JoinPath(folder, "last");
  const std::string file = JoinPath(folder, "epoch3");
  ASSERT_EQ(symlink("epoch3", link.c_str()), 0);
  for (const char* bytes : {"first", "second"}) {  // dangling, then not
    ASSERT_TRUE(Put(link, bytes));
    EXPECT_EQ(Get(file), bytes);
    EXPECT_TRUE(std::filesystem::is_symlink(link));
  }
  EXPECT_EQ(Names(), 2u);
  ASSERT_EQ(symlink("loop", JoinPath(folder, "loop").c_str()), 0);
  EXPECT_FALSE(Put(JoinPath(folder, "loop"), "bytes"));
}

// As root, a rename over /dev/null would be noticed by others.
TEST_F(PlainFilesTest, WhatIsNoRegularFileIsRefused) {
  const std::string fifo = JoinPath(folder, "fifo");
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  const Result<void> put = Put(fifo, "bytes");
  ASSERT_FALSE(put);
  EXPECT_EQ(put.error().code(), ErrorCode::kInvalidArgument);
  EXPECT_TRUE(std::filesystem::is_fifo(fifo));
  // Nobody writes to it: a blocking open would wait for ever.
  EXPECT_EQ(Get(fifo).error().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(Names(), 1u);
}

INSTANTIATE_TEST_SUITE_P(, FilesTest, ::testing::Values(true, false),
                         [](const ::testing::TestParamInfo<bool>& tested) {
                           return tested.param ? "Objects" : "PlainFiles";
                         });

}  // namespace
}  // namespace ckptfs
