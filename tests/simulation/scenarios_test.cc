// Scenarios: what broke the promise once, step by step, against the reference
// model. [S-01] [S-02] [S-04] [S-12] [S-14] [S-21] [S-32] [S-35]
#include <fcntl.h>
#include <gtest/gtest.h>

#include <string>

#include "common/log.h"
#include "simulation/world.h"

namespace ckptfs::sim {
namespace {

constexpr std::uint64_t kMiB = 1u << 20;

class Scenario : public testing::Test {
 protected:
  Scenario() : world_(Plan()) {
    EXPECT_TRUE(InitLogging(LogLevel::kOff, "").has_value());
  }
  void TearDown() override {
    world_.Finish();
    EXPECT_FALSE(world_.failed()) << world_.Report();
  }
  static WorldPlan Plan() {
    WorldPlan plan;
    plan.seed = 1;
    plan.groups = 0;
    plan.paths = {"model", "b.pt"};
    return plan;
  }
  static bool Is(const SimStore::Call& call, const std::string& operation,
                 const std::string& key) {
    return call.operation == operation && call.key == key;
  }
  static auto Only(std::string operation, std::string key) {
    return [=](const SimStore::Call& call) { return Is(call, operation, key); };
  }
  static auto Once(std::string operation, std::string key, ErrorCode code) {
    return [=, done = false](
               const SimStore::Call& call) mutable -> std::optional<ErrorCode> {
      if (done || !Is(call, operation, key)) return std::nullopt;
      done = true;
      return code;
    };
  }
  static auto Always(std::string operation, std::string key, ErrorCode code) {
    return [=](const SimStore::Call& call) -> std::optional<ErrorCode> {
      if (!Is(call, operation, key)) return std::nullopt;
      return code;
    };
  }
  int Open(Thread* t, const std::string& path, int flags) {
    const auto call = world_.Start(k().Open(t, path, flags));
    EXPECT_TRUE(call.ok()) << path;
    return call.ok() ? **call : -1;
  }
  bool Write(Thread* t, int fd, std::uint64_t at, std::uint64_t size) {
    return world_.Start(k().Write(t, fd, at, size)).ok();
  }
  bool Close(Thread* t, int fd) { return world_.Start(k().Close(t, fd)).ok(); }
  bool Read(Thread* t, int fd, std::uint64_t at, std::uint64_t size) {
    return world_.Start(k().Read(t, fd, at, size)).ok();
  }
  SimKernel& k() { return world_.kernel(); }

  World world_;
};

// The RELEASE of the first descriptor comes late: the close of the second one
// is the last close all the same.
TEST_F(Scenario, TwoDescriptorsOfOneProcess) {
  Thread* const p = world_.NewProcess();
  const int first = Open(p, "model", O_WRONLY | O_CREAT);
  const int second = Open(p, "model", O_WRONLY);
  EXPECT_TRUE(Write(p, first, 0, 5000));
  EXPECT_TRUE(Close(p, first));
  EXPECT_TRUE(Close(p, second));
}

TEST_F(Scenario, TwoDescriptorsClosedTheOtherWayRound) {
  Thread* const p = world_.NewProcess();
  const int first = Open(p, "model", O_WRONLY | O_CREAT);
  const int second = Open(p, "model", O_WRONLY);
  EXPECT_TRUE(Write(p, second, 0, 5000));
  EXPECT_TRUE(Close(p, first));
  EXPECT_TRUE(Close(p, second));
}

// A dead writer's late RELEASE does not take the close of a living one.
TEST_F(Scenario, CloseWhileTheOnlyWriterIsDead) {
  Thread* const p = world_.NewProcess();
  Thread* const q = world_.NewProcess();
  const int killed = Open(p, "model", O_WRONLY | O_CREAT);
  const int living = Open(q, "model", O_WRONLY);
  EXPECT_TRUE(Write(q, living, 0, 5000));
  p->group->dying = p->group->ending = true;
  Spawn(world_.programs(), k().Exit(p));
  world_.Settle();
  (void)killed;
  EXPECT_TRUE(Close(q, living));
}

// The upload under way is bound to the old name, where the old object is. The
// copy to the new one is refused.
TEST_F(Scenario, RenameOfAnUploadWhoseCopyIsRefused) {
  world_.PutForeign("model", 20'000);
  Thread* const p = world_.NewProcess();
  const int fd = Open(p, "model", O_WRONLY | O_TRUNC);
  EXPECT_TRUE(Write(p, fd, 0, 6 * kMiB));
  world_.refuse = Always("Copy", "b.pt", ErrorCode::kPermissionDenied);
  EXPECT_FALSE(world_.Start(k().Rename(p, "model", "b.pt", 0)).ok());
  world_.refuse = nullptr;
  (void)Close(p, fd);
}

TEST_F(Scenario, CutOfAnEmptyFileWhileItsAttributesAreStored) {
  Thread* const p = world_.NewProcess();
  const int made = Open(p, "model", O_WRONLY | O_CREAT | O_TRUNC);
  EXPECT_TRUE(Close(p, made));
  world_.DeliverLate();
  EXPECT_TRUE(world_.Start(k().Chmod(p, "model", 0600)).ok());
  world_.hold = Only("Copy", "model");
  world_.Advance(std::chrono::seconds(2));
  const auto opened = world_.Start(k().Open(p, "model", O_WRONLY | O_TRUNC));
  world_.hold = nullptr;
  world_.Settle();
  ASSERT_TRUE(opened.ok());
  EXPECT_TRUE(Close(p, **opened));
}

TEST_F(Scenario, TruncateRightAfterAClose) {
  Thread* const p = world_.NewProcess();
  const int fd = Open(p, "model", O_WRONLY | O_CREAT);
  EXPECT_TRUE(Write(p, fd, 0, 5000));
  EXPECT_TRUE(Close(p, fd));
  EXPECT_TRUE(world_.Start(k().Truncate(p, "model", 100)).ok());
}

TEST_F(Scenario, TruncateToNothingRightAfterAClose) {
  Thread* const p = world_.NewProcess();
  const int fd = Open(p, "model", O_WRONLY | O_CREAT);
  EXPECT_TRUE(Write(p, fd, 0, 5000));
  EXPECT_TRUE(Close(p, fd));
  EXPECT_TRUE(world_.Start(k().Truncate(p, "model", 0)).ok());
}

// Between the DELETE of the old name and its answer.
TEST_F(Scenario, ReadWhileRenamed) {
  world_.PutForeign("model", 9'000'000);
  Thread* const p = world_.NewProcess();
  const int fd = Open(p, "model", O_RDONLY);
  world_.hold_answer = Only("Delete", "model");
  const auto renamed = world_.Start(k().Rename(p, "model", "b.pt", 0));
  EXPECT_FALSE(renamed.done());
  const auto read = world_.Start(k().Read(p, fd, 0, 4096));
  world_.hold_answer = nullptr;
  world_.Settle();
  EXPECT_TRUE(renamed.ok());
  EXPECT_TRUE(read.ok());
  EXPECT_TRUE(Read(p, fd, 8'000'000, 4096));
  EXPECT_TRUE(Close(p, fd));
}

// The replaced file is read between its copy for readers and the rename, and
// between the copy over it and the answer.
TEST_F(Scenario, ReadWhileReplaced) {
  world_.PutForeign("model", 9'000'000);
  world_.PutForeign("b.pt", 9'000'000);
  Thread* const p = world_.NewProcess();
  const int fd = Open(p, "b.pt", O_RDONLY);
  EXPECT_TRUE(Read(p, fd, 0, 4096));
  world_.hold_answer = Only("Copy", "b.pt");
  const auto renamed = world_.Start(k().Rename(p, "model", "b.pt", 0));
  EXPECT_FALSE(renamed.done());
  const auto read = world_.Start(k().Read(p, fd, 4'000'000, 4096));
  world_.hold_answer = nullptr;
  world_.Settle();
  EXPECT_TRUE(renamed.ok());
  EXPECT_TRUE(read.ok());
  EXPECT_TRUE(Read(p, fd, 8'000'000, 4096));
  EXPECT_TRUE(Close(p, fd));
}

// A reader that comes while the file is on its way to be replaced.
TEST_F(Scenario, OpenBetweenTheCopyForReadersAndTheRename) {
  world_.PutForeign("model", 9'000'000);
  world_.PutForeign("b.pt", 9'000'000);
  Thread* const p = world_.NewProcess();
  Thread* const q = world_.NewProcess();
  EXPECT_TRUE(world_.Start(k().Stat(q, "b.pt")).ok());
  world_.hold = Only("Copy", "b.pt");
  const auto renamed = world_.Start(k().Rename(p, "model", "b.pt", 0));
  EXPECT_FALSE(renamed.done());
  const auto opened = world_.Start(k().Open(q, "b.pt", O_RDONLY));
  world_.hold = nullptr;
  world_.Settle();
  EXPECT_TRUE(renamed.ok());
  ASSERT_TRUE(opened.ok());
  EXPECT_TRUE(Read(q, **opened, 0, 4096));
  EXPECT_TRUE(Close(q, **opened));
}

TEST_F(Scenario, OpenBetweenUnlinkAndItsAnswer) {
  world_.PutForeign("model", 9'000'000);
  Thread* const p = world_.NewProcess();
  Thread* const q = world_.NewProcess();
  EXPECT_TRUE(world_.Start(k().Stat(q, "model")).ok());
  world_.hold = Only("Delete", "model");
  const auto gone = world_.Start(k().Unlink(p, "model"));
  EXPECT_FALSE(gone.done());
  const auto opened = world_.Start(k().Open(q, "model", O_RDONLY));
  world_.hold = nullptr;
  world_.Settle();
  EXPECT_TRUE(gone.ok());
  if (!opened.ok()) return;
  EXPECT_TRUE(Read(q, **opened, 0, 4096));
  EXPECT_TRUE(Close(q, **opened));
}

// The size of a large file is cut, the read of what stays is refused once.
TEST_F(Scenario, RefusedCutThenAWrite) {
  world_.PutForeign("model", 20 * kMiB);
  Thread* const p = world_.NewProcess();
  const int fd = Open(p, "model", O_RDWR);
  world_.refuse = Once("Get", "model", ErrorCode::kPermissionDenied);
  EXPECT_FALSE(world_.Start(k().Ftruncate(p, fd, 5 * kMiB)).ok());
  world_.refuse = nullptr;
  (void)Write(p, fd, 20 * kMiB, 1);
  (void)Close(p, fd);
}

TEST_F(Scenario, ReadWhileALargeFileIsCut) {
  world_.PutForeign("model", 20 * kMiB);
  Thread* const p = world_.NewProcess();
  Thread* const q = world_.NewProcess();
  const int fd = Open(p, "model", O_RDWR);
  const int reader = Open(q, "model", O_RDONLY);
  EXPECT_TRUE(Write(p, fd, 20 * kMiB, 1));
  world_.hold = Only("Get", "model");
  const auto cut = world_.Start(k().Ftruncate(p, fd, 5 * kMiB));
  EXPECT_FALSE(cut.done());
  const auto read = world_.Start(k().Read(q, reader, 0, 4096));
  world_.hold = nullptr;
  world_.Settle();
  EXPECT_TRUE(cut.ok());
  EXPECT_TRUE(read.ok());
  EXPECT_TRUE(Close(p, fd));
  EXPECT_TRUE(Close(q, reader));
}

TEST_F(Scenario, LatePagesOfAFileOpenForAppending) {
  Thread* const p = world_.NewProcess();
  const int fd = Open(p, "model", O_RDWR | O_APPEND | O_CREAT);
  EXPECT_TRUE(Write(p, fd, 0, 5000));
  EXPECT_TRUE(k().Mmap(p, fd).has_value());
  EXPECT_TRUE(k().DirtyPage(*p->group->mappings[0], 0).has_value());
  EXPECT_TRUE(Close(p, fd));
  EXPECT_TRUE(world_.Start(k().Stat(p, "model")).ok());
}

// The reply to the copy that stores new attributes is lost.
TEST_F(Scenario, LostReplyToTheCopyOfAttributes) {
  world_.PutForeign("model", 9'000'000);
  Thread* const p = world_.NewProcess();
  const int fd = Open(p, "model", O_RDWR | O_APPEND);
  EXPECT_TRUE(world_.Start(k().Chmod(p, "model", 0600)).ok());
  world_.lose = Once("Copy", "model", ErrorCode::kOutcomeUnknown);
  world_.Advance(std::chrono::seconds(2));
  world_.lose = nullptr;
  EXPECT_TRUE(Read(p, fd, 0, 4096));
  EXPECT_TRUE(Write(p, fd, 0, 100));
  EXPECT_TRUE(Close(p, fd));
}

TEST_F(Scenario, LostReplyToTheCopyOfAttributesForAReader) {
  world_.PutForeign("model", 9'000'000);
  Thread* const p = world_.NewProcess();
  const int fd = Open(p, "model", O_RDONLY);
  EXPECT_TRUE(world_.Start(k().Chmod(p, "model", 0600)).ok());
  world_.lose = Once("Copy", "model", ErrorCode::kOutcomeUnknown);
  world_.Advance(std::chrono::seconds(2));
  world_.lose = nullptr;
  EXPECT_TRUE(Read(p, fd, 0, 4096));
  EXPECT_TRUE(Read(p, fd, 8'500'000, 4096));
  EXPECT_TRUE(Close(p, fd));
}

TEST_F(Scenario, RenameOfANewUploadWhoseDeleteIsRefused) {
  Thread* const p = world_.NewProcess();
  const int fd = Open(p, "model", O_WRONLY | O_CREAT | O_TRUNC);
  EXPECT_TRUE(Write(p, fd, 0, 6 * kMiB));
  world_.refuse = Always("Delete", "model", ErrorCode::kPermissionDenied);
  (void)world_.Start(k().Rename(p, "model", "b.pt", 0));
  world_.refuse = nullptr;
  (void)Close(p, fd);
}

// The rename failed: to its caller the file has its old name.
TEST_F(Scenario, RenameOfARewrittenFileWhoseDeleteIsRefused) {
  world_.PutForeign("model", 20'000);
  Thread* const p = world_.NewProcess();
  const int fd = Open(p, "model", O_WRONLY | O_TRUNC);
  EXPECT_TRUE(Write(p, fd, 0, 5000));
  world_.refuse = Always("Delete", "model", ErrorCode::kPermissionDenied);
  EXPECT_FALSE(world_.Start(k().Rename(p, "model", "b.pt", 0)).ok());
  world_.refuse = nullptr;
  EXPECT_TRUE(Write(p, fd, 5000, 100));
  (void)Close(p, fd);
}

TEST_F(Scenario, FsyncThroughAReader) {
  Thread* const p = world_.NewProcess();
  const int writer = Open(p, "model", O_WRONLY | O_CREAT);
  const int reader = Open(p, "model", O_RDONLY);
  EXPECT_TRUE(Write(p, writer, 0, 5000));
  EXPECT_TRUE(world_.Start(k().Fsync(p, reader)).ok());
  EXPECT_TRUE(Close(p, writer));
  EXPECT_TRUE(Close(p, reader));
}

// Every descriptor hears of a refused write.
TEST_F(Scenario, CloseOfAnotherDescriptorAfterARefusedWrite) {
  world_.PutForeign("model", 20 * kMiB);
  Thread* const p = world_.NewProcess();
  Thread* const q = world_.NewProcess();
  const int first = Open(p, "model", O_WRONLY);
  const int second = Open(q, "model", O_WRONLY);
  EXPECT_FALSE(Write(p, first, 0, 100));
  EXPECT_FALSE(Close(q, second));
  EXPECT_FALSE(Close(p, first));
}

// The thread that opened and wrote the file has ended, its process has not.
TEST_F(Scenario, OpenedByAThreadThatEnded) {
  Thread* const p = world_.NewProcess();
  Thread& other = world_.processes.AddThread(*p->group);
  const int fd = Open(&other, "model", O_WRONLY | O_CREAT);
  EXPECT_TRUE(Write(&other, fd, 0, 5000));
  other.ended = true;
  EXPECT_TRUE(Close(p, fd));
}

// A HEAD that was on its way during a publish tells of the older object.
TEST_F(Scenario, OpenWhileAnotherProcessPublishes) {
  world_.PutForeign("model", 20'000);
  Thread* const p = world_.NewProcess();
  Thread* const q = world_.NewProcess();
  EXPECT_TRUE(world_.Start(k().Stat(q, "model")).ok());
  world_.hold_answer = Only("Head", "model");
  const auto opened = world_.Start(k().Open(q, "model", O_RDONLY));
  EXPECT_FALSE(opened.done());
  const int fd = Open(p, "model", O_WRONLY | O_TRUNC);
  EXPECT_TRUE(Write(p, fd, 0, 5000));
  EXPECT_TRUE(world_.Start(k().Fsync(p, fd)).ok());
  world_.hold_answer = nullptr;
  world_.Settle();
  EXPECT_TRUE(opened.ok());
  EXPECT_TRUE(Write(p, fd, 5000, 100));
  EXPECT_TRUE(Close(p, fd));
}

// Nobody knows whether the object is there: unlink makes sure that it is not.
TEST_F(Scenario, UnlinkAfterAnUnknownOutcome) {
  Thread* const p = world_.NewProcess();
  const int fd = Open(p, "model", O_WRONLY | O_CREAT);
  EXPECT_TRUE(Write(p, fd, 0, 5000));
  world_.lose = Once("Put", "model", ErrorCode::kOutcomeUnknown);
  world_.refuse = Always("Head", "model", ErrorCode::kPermissionDenied);
  EXPECT_FALSE(Close(p, fd));
  world_.lose = world_.refuse = nullptr;
  EXPECT_TRUE(world_.Start(k().Unlink(p, "model")).ok());
}

// Nobody knows whether the rename replaced the file: its writer is not told
// that its bytes are in S3.
TEST_F(Scenario, WriterOfAFileThatARenameMayHaveReplaced) {
  world_.PutForeign("b.pt", 20'000);
  Thread* const p = world_.NewProcess();
  Thread* const q = world_.NewProcess();
  const int writer = Open(q, "b.pt", O_WRONLY | O_TRUNC);
  EXPECT_TRUE(Write(q, writer, 0, 5000));
  const int fd = Open(p, "model", O_WRONLY | O_CREAT);
  EXPECT_TRUE(Write(p, fd, 0, 3000));
  world_.refuse = Once("Put", "b.pt", ErrorCode::kOutcomeUnknown);
  EXPECT_FALSE(world_.Start(k().Rename(p, "model", "b.pt", 0)).ok());
  world_.refuse = nullptr;
  (void)Close(q, writer);
  (void)Close(p, fd);
}

// The answer to the DELETE is lost, and nobody can be asked what became of it.
TEST_F(Scenario, UnlinkOfUnknownOutcomeOfAFileInWriting) {
  world_.PutForeign("model", 20'000);
  Thread* const p = world_.NewProcess();
  Thread* const q = world_.NewProcess();
  const int fd = Open(q, "model", O_WRONLY | O_TRUNC);
  EXPECT_TRUE(Write(q, fd, 0, 5000));
  world_.lose = Once("Delete", "model", ErrorCode::kUnavailable);
  world_.refuse = Always("Head", "model", ErrorCode::kPermissionDenied);
  EXPECT_FALSE(world_.Start(k().Unlink(p, "model")).ok());
  world_.lose = world_.refuse = nullptr;
  (void)Close(q, fd);
}

}  // namespace
}  // namespace ckptfs::sim
