// The process oracle on the real kernel: real processes close a file of a real
// mount in every way there is, and the witness is taken while the kernel waits
// for the answer to FLUSH.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "fuse/proc_process_oracle.h"
#include "fuse/stat_reader.h"
#include "unit/fuse/memory_dispatcher.h"
#include "unit/fuse/mount_fixture.h"

extern char** environ;

namespace ckptfs::fuse {
namespace {

struct SeenFlush {
  pid_t tid = 0;
  fs::FlushWitness witness;
};

// Asks the oracle at each FLUSH, before it is answered.
class WitnessingDispatcher : public MemoryDispatcher {
 public:
  explicit WitnessingDispatcher(Executor& work,
                                ProcProcessOracle::Options options = {})
      : work_(work), oracle_(work, std::move(options)) {}

  void Flush(fs::Caller caller, fs::InodeNumber ino, fs::HandleId,
             fs::Reply<void> reply) override {
    {
      std::unique_lock lock(mu_);
      ++arrived_;
      cv_.notify_all();
      cv_.wait(lock, [&] { return !blocked_; });
    }
    oracle_.WitnessFlush(caller.tid, ino)
        .Then(work_, [this, caller, reply = std::move(reply)](
                         Result<fs::FlushWitness> witness) mutable {
          {
            std::lock_guard lock(mu_);
            seen_.push_back({caller.tid, witness.value()});
            cv_.notify_all();
          }
          reply({});
        });
  }

  // Keeps the next FLUSH waiting before the oracle is asked. (It blocks one of
  // the two receive threads.)
  void Block() {
    std::lock_guard lock(mu_);
    blocked_ = true;
  }
  void AwaitArrival() {
    std::unique_lock lock(mu_);
    cv_.wait(lock, [&] { return arrived_ > 0; });
  }
  void AwaitSeen() {
    std::unique_lock lock(mu_);
    cv_.wait(lock, [&] { return !seen_.empty(); });
  }
  void Unblock() {
    std::lock_guard lock(mu_);
    blocked_ = false;
    cv_.notify_all();
  }
  std::vector<SeenFlush> seen() {
    std::lock_guard lock(mu_);
    return seen_;
  }
  ProcProcessOracle& oracle() { return oracle_; }

 private:
  Executor& work_;
  ProcProcessOracle oracle_;
  std::mutex mu_;
  std::condition_variable cv_;
  bool blocked_ = false;
  int arrived_ = 0;
  std::vector<SeenFlush> seen_;
};

// A child process; killed and reaped at the end.
class Child {
 public:
  Child(const char* scenario, const std::string& file) {
    int fds[2];
    EXPECT_EQ(pipe2(fds, O_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
    std::string program = CKPTFS_FLUSH_CHILD, name = scenario, path = file;
    char* argv[] = {program.data(), name.data(), path.data(), nullptr};
    EXPECT_EQ(
        posix_spawn(&pid_, program.c_str(), &actions, nullptr, argv, environ),
        0);
    posix_spawn_file_actions_destroy(&actions);
    close(fds[1]);
    stdout_ = fds[0];
  }
  ~Child() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    close(stdout_);
  }

  void AwaitReady() {
    char line[6];
    std::size_t used = 0;
    while (used < sizeof line) {
      const ssize_t n = read(stdout_, line + used, sizeof line - used);
      ASSERT_GT(n, 0) << "the child ended early";
      used += static_cast<std::size_t>(n);
    }
  }
  void Kill(int signal) { kill(pid_, signal); }
  // Until the child has stopped itself.
  void AwaitStopped() {
    int status = 0;
    ASSERT_EQ(waitpid(pid_, &status, WUNTRACED), pid_);
    ASSERT_TRUE(WIFSTOPPED(status));
  }
  int Reap() {
    int status = 0;
    EXPECT_EQ(waitpid(pid_, &status, 0), pid_);
    pid_ = -1;
    return status;
  }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
  int stdout_ = -1;
};

// As on kernels before 6.9, or under a seccomp profile that refuses it.
ProcProcessOracle::Options WithoutPidfd() {
  ProcProcessOracle::Options options;
  options.pidfd_open = [](pid_t) {
    errno = ENOSYS;
    return -1;
  };
  return options;
}

class FlushWitnessTest : public MountTest {
 protected:
  // Every FLUSH that `scenario` causes; `signal` is sent when it is ready.
  std::vector<SeenFlush> Run(const char* scenario, int signal = 0,
                             ProcProcessOracle::Options options = {}) {
    ThreadPool work("witness", 1);
    WitnessingDispatcher dispatcher(work, std::move(options));
    {
      TestMount mount(dispatcher);
      Child child(scenario, mount.Path("file"));
      pid_ = child.pid();
      if (signal != 0) {
        child.AwaitReady();
        child.Kill(signal);
      }
      status_ = child.Reap();
    }
    return dispatcher.seen();
  }

  // All closed by the child (or `pid`), which a signal ended, or not.
  void ExpectDeath(const std::vector<SeenFlush>& seen) {
    Expect(seen, pid_, true);
  }
  void ExpectLiving(const std::vector<SeenFlush>& seen) {
    Expect(seen, pid_, false);
  }
  static void Expect(const std::vector<SeenFlush>& seen, pid_t pid,
                     bool dying) {
    ASSERT_FALSE(seen.empty());
    for (const SeenFlush& s : seen) {
      EXPECT_EQ(s.witness.group.tgid, pid);
      EXPECT_NE(s.witness.group.id, 0u);
      EXPECT_EQ(s.witness.dying_by_signal, dying);
    }
  }

  pid_t pid_ = 0;
  int status_ = 0;
};

TEST_F(FlushWitnessTest, SigkillIsDeath) {
  ExpectDeath(Run("pause", SIGKILL));
  EXPECT_TRUE(WIFSIGNALED(status_));
}

TEST_F(FlushWitnessTest, SigtermIsDeath) { ExpectDeath(Run("pause", SIGTERM)); }

TEST_F(FlushWitnessTest, SigkillOfAThreadedProgramIsDeath) {
  ExpectDeath(Run("pause-with-threads", SIGKILL));
}

TEST_F(FlushWitnessTest, SigtermOfAThreadedProgramIsDeath) {
  ExpectDeath(Run("pause-with-threads", SIGTERM));
}

TEST_F(FlushWitnessTest, SigkillInsideWriteIsDeath) {
  ExpectDeath(Run("write-forever", SIGKILL));
}

TEST_F(FlushWitnessTest, EveryDescriptorOfTheDeadIsDeath) {
  const std::vector<SeenFlush> seen = Run("pause-with-duplicate", SIGKILL);
  ASSERT_EQ(seen.size(), 2u);
  ExpectDeath(seen);
}

TEST_F(FlushWitnessTest, DeathIsSeenAfterTheFirstThreadHasEnded) {
  ExpectDeath(Run("leader-gone-pause", SIGKILL));
}

TEST_F(FlushWitnessTest, SegmentationFaultIsDeath) {
  ExpectDeath(Run("segv"));
  ASSERT_TRUE(WIFSIGNALED(status_));
  EXPECT_EQ(WTERMSIG(status_), SIGSEGV);
}

TEST_F(FlushWitnessTest, AbortIsDeath) { ExpectDeath(Run("abort")); }

TEST_F(FlushWitnessTest, OrdinaryExitIsNot) {
  ExpectLiving(Run("exit"));
  EXPECT_EQ(WEXITSTATUS(status_), 3);
}

TEST_F(FlushWitnessTest, ExitCodeThatLooksLikeASignalIsNot) {
  ExpectLiving(Run("exit-137"));
}

// Its other threads are killed by exit_group and show PF_SIGNALED.
TEST_F(FlushWitnessTest, ExitWithThreadsRunningIsNot) {
  ExpectLiving(Run("exit-with-threads"));
  EXPECT_TRUE(WIFEXITED(status_));
}

TEST_F(FlushWitnessTest, CloseIsNot) {
  const std::vector<SeenFlush> seen = Run("close");
  ASSERT_EQ(seen.size(), 1u);
  ExpectLiving(seen);
  EXPECT_FALSE(seen[0].witness.has_other_writable_descriptor);
}

TEST_F(FlushWitnessTest, CloseInAThreadNamesTheGroup) {
  const std::vector<SeenFlush> seen = Run("close-in-thread");
  ASSERT_EQ(seen.size(), 1u);
  EXPECT_NE(seen[0].tid, pid_);
  ExpectLiving(seen);
}

TEST_F(FlushWitnessTest, CloseAfterTheFirstThreadHasEnded) {
  const std::vector<SeenFlush> seen = Run("leader-gone-close");
  ASSERT_EQ(seen.size(), 1u);
  ExpectLiving(seen);
}

TEST_F(FlushWitnessTest, ADuplicateIsAnotherWritableDescriptor) {
  const std::vector<SeenFlush> seen = Run("duplicate");
  ASSERT_EQ(seen.size(), 2u);
  ExpectLiving(seen);
  EXPECT_TRUE(seen[0].witness.has_other_writable_descriptor);
  EXPECT_FALSE(seen[1].witness.has_other_writable_descriptor);
}

// The list of groups stands before the lines that tell a living process.
TEST_F(FlushWitnessTest, ManyGroupsHideNothing) {
  if (geteuid() != 0) GTEST_SKIP() << "setgroups needs root";
  const std::vector<SeenFlush> seen = Run("duplicate-with-many-groups");
  ASSERT_EQ(seen.size(), 2u);
  ExpectLiving(seen);
  EXPECT_TRUE(seen[0].witness.has_other_writable_descriptor);
  EXPECT_FALSE(seen[1].witness.has_other_writable_descriptor);
  ExpectDeath(Run("pause-with-many-groups", SIGKILL));
}

TEST_F(FlushWitnessTest, AReaderIsNoWritableDescriptor) {
  const std::vector<SeenFlush> seen = Run("reader-too");
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_FALSE(seen[0].witness.has_other_writable_descriptor);
}

TEST_F(FlushWitnessTest, AForkedChildIsAnotherGroup) {
  const std::vector<SeenFlush> seen = Run("fork");
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_NE(seen[0].witness.group.tgid, pid_);
  EXPECT_FALSE(seen[0].witness.dying_by_signal);
  EXPECT_EQ(seen[1].witness.group.tgid, pid_);
}

TEST_F(FlushWitnessTest, ExecClosesAmongTheLiving) {
  const std::vector<SeenFlush> seen = Run("exec");
  ASSERT_EQ(seen.size(), 1u);
  ExpectLiving(seen);
  EXPECT_EQ(WEXITSTATUS(status_), 0);
}

TEST_F(FlushWitnessTest, ExecInAThreadClosesAmongTheLiving) {
  const std::vector<SeenFlush> seen = Run("exec-in-thread");
  ASSERT_EQ(seen.size(), 1u);
  ExpectLiving(seen);
  EXPECT_EQ(WEXITSTATUS(status_), 0);
}

// The stat file may be withheld until execve goes on, which waits for us.
TEST_F(FlushWitnessTest, ExecDoesNotKeepTheOracle) {
  ThreadPool work("witness", 1);
  WitnessingDispatcher dispatcher(work, WithoutPidfd());
  TestMount mount(dispatcher);
  dispatcher.Block();
  Child child("exec", mount.Path("file"));
  dispatcher.AwaitArrival();
  {
    const ProcFiles files("/proc", &OpenAtForReading);
    StatReader reader(files);
    reader.Read(child.pid(), std::chrono::milliseconds(10));
    EXPECT_EQ(dispatcher.oracle()
                  .FateOf({fs::ProcessGroup::Kind::kStartTime, child.pid(), 1})
                  .Get()
                  .value(),
              fs::GroupFate::kLiving);
    dispatcher.Unblock();
  }
  EXPECT_EQ(child.Reap(), 0);
}

// As a program that starts others does: the forked child's copy of the
// descriptor is closed by its execve.
TEST_F(FlushWitnessTest, ForkAndExecIsAnotherGroup) {
  for (const bool with_pidfd : {true, false}) {
    const std::vector<SeenFlush> seen =
        Run("fork-exec", 0,
            with_pidfd ? ProcProcessOracle::Options() : WithoutPidfd());
    ASSERT_EQ(seen.size(), 2u);
    EXPECT_TRUE(seen[0].witness.group.known());
    EXPECT_NE(seen[0].witness.group.tgid, pid_);
    EXPECT_FALSE(seen[0].witness.dying_by_signal);
    EXPECT_EQ(seen[1].witness.group.tgid, pid_);
  }
}

// In the middle of execve, without pidfd inodes: the number has to do.
TEST_F(FlushWitnessTest, ExecIsRecognisedWithoutPidfdInodes) {
  ThreadPool work("witness", 1);
  WitnessingDispatcher dispatcher(work, WithoutPidfd());
  TestMount mount(dispatcher);
  Child child("exec-when-told", mount.Path("file"));
  child.AwaitReady();
  const fs::ProcessGroup group =
      dispatcher.oracle().GroupOf(child.pid()).Get().value();
  child.Kill(SIGUSR1);
  EXPECT_EQ(child.Reap(), 0);
  const std::vector<SeenFlush> seen = dispatcher.seen();
  ASSERT_EQ(seen.size(), 1u);
  EXPECT_EQ(group.kind, fs::ProcessGroup::Kind::kStartTime);
  EXPECT_TRUE(seen[0].witness.group.known());
  EXPECT_TRUE(MayBeSame(seen[0].witness.group, group));
  EXPECT_FALSE(seen[0].witness.dying_by_signal);
}

// While a group is stopped, its exit code field holds the stopping signal.
TEST_F(FlushWitnessTest, ASignalThatOnlyStoppedIsNotDeath) {
  ThreadPool work("witness", 1);
  WitnessingDispatcher dispatcher(work);
  TestMount mount(dispatcher);
  Child child("stop-then-close", mount.Path("file"));
  child.AwaitReady();
  child.AwaitStopped();
  child.Kill(SIGCONT);
  const pid_t pid = child.pid();
  EXPECT_EQ(child.Reap(), 0);
  Expect(dispatcher.seen(), pid, false);
}

// The end of a thread closes descriptors that only it has. Its group may be
// stopped by a signal meanwhile, or its first thread by a tracer.
TEST_F(FlushWitnessTest, AThreadThatEndsInAStoppedGroupIsLiving) {
  for (const bool traced : {false, true}) {
    ThreadPool work("witness", 1);
    WitnessingDispatcher dispatcher(work);
    TestMount mount(dispatcher);
    dispatcher.Block();
    Child child("thread-with-own-descriptors", mount.Path("file"));
    child.AwaitReady();
    dispatcher.AwaitArrival();
    if (!traced) {
      child.Kill(SIGSTOP);
    } else if (ptrace(PTRACE_ATTACH, child.pid(), nullptr, nullptr) != 0) {
      dispatcher.Unblock();
      GTEST_SKIP() << "ptrace is not permitted";
    }
    child.AwaitStopped();
    dispatcher.Unblock();
    dispatcher.AwaitSeen();
    Expect(dispatcher.seen(), child.pid(), false);
  }
}

// The program had finished with the file when the signal came.
TEST_F(FlushWitnessTest, KilledWhileItWaitsInCloseIsLiving) {
  ThreadPool work("witness", 1);
  WitnessingDispatcher dispatcher(work);
  TestMount mount(dispatcher);
  dispatcher.Block();
  Child child("killed-in-close", mount.Path("file"));
  child.AwaitReady();
  dispatcher.AwaitArrival();
  child.Kill(SIGKILL);
  dispatcher.Unblock();
  const pid_t pid = child.pid();
  EXPECT_TRUE(WIFSIGNALED(child.Reap()));
  Expect(dispatcher.seen(), pid, false);
}

}  // namespace
}  // namespace ckptfs::fuse
