// What the process oracle says of real processes, where calls fail or /proc is
// closed, and what has become of them.

#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "unit/fuse/oracle_under_test.h"

namespace ckptfs::fuse {
namespace {

// A forked process that runs `body`; killed and reaped at the end.
class Process {
 public:
  explicit Process(const std::function<void()>& body) : pid_(fork()) {
    if (pid_ == 0) {
      body();
      _exit(0);
    }
  }
  explicit Process(pid_t pid) : pid_(pid) {}
  ~Process() { KillAndReap(); }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  // Dead, but not reaped: a zombie.
  void AwaitEnd() const {
    siginfo_t info{};
    ASSERT_EQ(waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT),
              0);
  }
  void AwaitStop() const {
    int status = 0;
    ASSERT_EQ(waitpid(pid_, &status, WUNTRACED), pid_);
    ASSERT_TRUE(WIFSTOPPED(status));
  }
  void KillAndReap() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

 private:
  pid_t pid_;
};

void PauseForever() {
  while (true) pause();
}

// Says something through a pipe, once.
class Signal {
 public:
  Signal() { EXPECT_EQ(pipe2(ends_, O_CLOEXEC), 0); }
  ~Signal() {
    close(ends_[0]);
    close(ends_[1]);
  }
  void Give() const {
    if (write(ends_[1], "x", 1) != 1) _exit(99);
  }
  void Await() const {
    pollfd fd{ends_[0], POLLIN, 0};
    ASSERT_EQ(poll(&fd, 1, 10'000), 1);
    // Reading, not polling, is what orders threads for ThreadSanitizer.
    char said;
    ASSERT_EQ(read(ends_[0], &said, 1), 1);
  }

 private:
  int ends_[2];
};

// Until the first thread of a group has ended.
void AwaitZombie(pid_t pid) {
  const auto deadline =
      std::chrono::steady_clock::now() + std::chrono::seconds(10);
  std::string text;
  while (text.find("State:\tZ") == std::string::npos) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline);
    std::ifstream file("/proc/" + std::to_string(pid) + "/status");
    text.assign(std::istreambuf_iterator<char>(file), {});
  }
}

TEST(ProcessOracle, NamesTheGroupOfAThread) {
  Oracle oracle;
  const fs::ProcessGroup group = oracle.GroupOf(getpid());
  EXPECT_EQ(group.tgid, getpid());
  fs::ProcessGroup of_thread;
  std::thread([&] { of_thread = oracle.GroupOf(gettid()); }).join();
  EXPECT_EQ(of_thread, group);
  Process other(PauseForever);
  EXPECT_FALSE(MayBeSame(oracle.GroupOf(other.pid()), group));
}

// [S-13]
TEST(ProcessOracle, CallersWithoutANumberCountAsLiving) {
  Oracle oracle;
  for (const pid_t tid : {0, -1}) {
    EXPECT_FALSE(oracle.GroupOf(tid).known());
    ExpectUnseen(oracle.Witness(tid));
  }
  EXPECT_EQ(oracle.FateOf({}), fs::GroupFate::kLiving);
}

// A thread that was gone before the look is nobody, not a stranger.
TEST(ProcessOracle, AThreadThatIsGoneCountsAsUnknown) {
  Oracle oracle;
  pid_t gone = 0;
  std::thread([&] { gone = gettid(); }).join();
  EXPECT_FALSE(oracle.GroupOf(gone).known());
  ExpectUnseen(oracle.Witness(gone));
}

// hidepid, no permission, no descriptor left, a damaged file.
TEST(ProcessOracle, AStatusThatCannotBeReadCountsAsUnknown) {
  const fs::ProcessGroup group = Oracle().GroupOf(getpid());
  for (const int error : {EPERM, EACCES, ENOENT, EMFILE, ENFILE, ENOMEM}) {
    Oracle oracle(OpenFails("/status", error));
    EXPECT_FALSE(oracle.GroupOf(getpid()).known()) << error;
    ExpectUnseen(oracle.Witness(getpid()));
    EXPECT_EQ(oracle.FateOf(group), fs::GroupFate::kLiving) << error;
  }
  OracleOptions no_proc;
  no_proc.proc_root = "/nonexistent";
  Oracle oracle(no_proc);
  EXPECT_FALSE(oracle.GroupOf(getpid()).known());
  ExpectUnseen(oracle.Witness(getpid()));
  EXPECT_EQ(oracle.FateOf(group), fs::GroupFate::kLiving);
}

// However a group was seen, it may be the same when it is seen otherwise.
TEST(ProcessOracle, KindsOfIdentityMeet) {
  const fs::ProcessGroup by_pidfd = Oracle().GroupOf(getpid());
  if (by_pidfd.kind != Kind::kPidfd) GTEST_SKIP() << "Linux before 6.9";
  for (const int error : {ENOSYS, EPERM}) {
    Oracle oracle(PidfdFails(error));
    const fs::ProcessGroup by_time = oracle.GroupOf(getpid());
    EXPECT_EQ(by_time.kind, Kind::kStartTime);
    EXPECT_EQ(oracle.Witness(getpid()).group, by_time);
    EXPECT_TRUE(MayBeSame(by_time, by_pidfd));
    EXPECT_EQ(oracle.FateOf(by_pidfd), fs::GroupFate::kLiving);
    EXPECT_EQ(oracle.FateOf(by_time), fs::GroupFate::kLiving);
  }
  for (const int error : {EMFILE, ENFILE, ENOMEM, ESRCH, EINVAL}) {
    Oracle oracle(PidfdFails(error));
    const fs::ProcessGroup by_number = oracle.GroupOf(getpid());
    EXPECT_EQ(by_number.kind, Kind::kNumber);
    EXPECT_EQ(oracle.Witness(getpid()).group, by_number);
    EXPECT_TRUE(MayBeSame(by_number, by_pidfd));
    EXPECT_EQ(oracle.FateOf(by_pidfd), fs::GroupFate::kLiving);
  }
  // Descriptors that do not tell groups apart, as before Linux 6.9.
  OracleOptions old;
  old.pidfd_open = [](pid_t) { return open("/dev/null", O_RDONLY); };
  EXPECT_EQ(Oracle(old).GroupOf(getpid()).kind, Kind::kStartTime);
}

TEST(ProcessOracle, AStartTimeThatCannotBeReadLeavesTheNumber) {
  OracleOptions options = PidfdFails(ENOSYS);
  options.open_at = [](int directory, const char* path) {
    return std::string(path).ends_with("/stat")
               ? FailWith(EMFILE)
               : OpenAtForReading(directory, path);
  };
  Oracle oracle(options);
  const fs::ProcessGroup expected{Kind::kNumber, getpid(), 0};
  EXPECT_EQ(oracle.GroupOf(getpid()), expected);
  EXPECT_EQ(oracle.Witness(getpid()).group, expected);
}

// Pushed far behind the first 4 KiB of the status file, the lines of the
// address space are read all the same.
TEST(ProcessOracle, AGroupWithManySupplementaryGroupsLives) {
  Signal ready;
  Process child([&] {
    std::vector<gid_t> groups(65'536);
    for (std::size_t i = 0; i < groups.size(); ++i) {
      groups[i] = static_cast<gid_t>(1'000'000'000 + i);
    }
    if (setgroups(groups.size(), groups.data()) != 0) _exit(1);
    ready.Give();
    PauseForever();
  });
  if (geteuid() != 0) GTEST_SKIP() << "setgroups needs root";
  ready.Await();
  Oracle oracle;
  const fs::ProcessGroup group = oracle.GroupOf(child.pid());
  EXPECT_TRUE(group.known());
  EXPECT_EQ(oracle.FateOf(group), fs::GroupFate::kLiving);
}

TEST(ProcessOracle, FateOfARunningStoppedAndEndedGroup) {
  Oracle oracle;
  Process child(PauseForever);
  const fs::ProcessGroup group = oracle.GroupOf(child.pid());
  EXPECT_EQ(oracle.FateOf(group), fs::GroupFate::kLiving);
  kill(child.pid(), SIGSTOP);
  child.AwaitStop();
  EXPECT_EQ(oracle.FateOf(group), fs::GroupFate::kLiving);
  kill(child.pid(), SIGKILL);
  child.AwaitEnd();
  EXPECT_EQ(oracle.FateOf(group), fs::GroupFate::kEnding) << "zombie";
  child.KillAndReap();
  EXPECT_EQ(oracle.FateOf(group), fs::GroupFate::kEnding) << "reaped";
  OracleOptions closed;
  closed.proc_root = "/nonexistent";
  EXPECT_EQ(Oracle(closed).FateOf(group), fs::GroupFate::kEnding)
      << "the kernel says so, whatever /proc shows";
}

TEST(ProcessOracle, FateOfATracedGroup) {
  Oracle oracle;
  Process child(PauseForever);
  const fs::ProcessGroup group = oracle.GroupOf(child.pid());
  if (ptrace(PTRACE_ATTACH, child.pid(), nullptr, nullptr) != 0) {
    GTEST_SKIP() << "ptrace is not permitted";
  }
  child.AwaitStop();
  EXPECT_EQ(oracle.FateOf(group), fs::GroupFate::kLiving);
}

// The first thread is a zombie, and nothing of the group shows in its files;
// the others go on.
TEST(ProcessOracle, AGroupLivesOnAfterItsFirstThread) {
  Process child([] {
    std::thread(PauseForever).detach();
    std::thread(PauseForever).detach();
    syscall(SYS_exit, 0);  // of this thread alone
  });
  AwaitZombie(child.pid());
  Oracle oracle;
  const fs::ProcessGroup group = oracle.GroupOf(child.pid());
  EXPECT_TRUE(group.known());
  EXPECT_EQ(oracle.FateOf(group), fs::GroupFate::kLiving);
  Oracle blind(OpenFails("/task", EMFILE));
  EXPECT_EQ(blind.FateOf(group), fs::GroupFate::kLiving);
  OracleOptions hasty;
  hasty.scan_limit = std::chrono::milliseconds(0);
  EXPECT_EQ(Oracle(hasty).FateOf(group), fs::GroupFate::kLiving);
  kill(child.pid(), SIGKILL);
  child.AwaitEnd();
  EXPECT_EQ(oracle.FateOf(group), fs::GroupFate::kEnding);
}

// A process with a number of our choice.
pid_t ForkAs(pid_t number) {
  clone_args args{};
  pid_t numbers[] = {number};
  args.exit_signal = SIGCHLD;
  args.set_tid = reinterpret_cast<std::uint64_t>(numbers);
  args.set_tid_size = 1;
  const auto pid = static_cast<pid_t>(syscall(SYS_clone3, &args, sizeof args));
  if (pid == 0) {
    PauseForever();
  }
  return pid;
}

TEST(ProcessOracle, AReusedNumberIsAnotherGroup) {
  Oracle oracle;
  Process first(PauseForever);
  const pid_t number = first.pid();
  const fs::ProcessGroup group = oracle.GroupOf(number);
  const fs::ProcessGroup by_number{Kind::kNumber, number, 0};
  first.KillAndReap();
  const pid_t again = ForkAs(number);
  if (again < 0) GTEST_SKIP() << "needs CAP_CHECKPOINT_RESTORE";
  Process second(again);
  ASSERT_EQ(again, number);
  if (group.kind == Kind::kPidfd) {
    EXPECT_FALSE(MayBeSame(oracle.GroupOf(number), group));
    EXPECT_EQ(oracle.FateOf(group), fs::GroupFate::kEnding);
  }
  // What cannot tell them apart takes them for the same.
  EXPECT_TRUE(MayBeSame(oracle.GroupOf(number), by_number));
  EXPECT_EQ(oracle.FateOf(by_number), fs::GroupFate::kLiving);
}

// A thread's number that a group had before names no group.
TEST(ProcessOracle, ANumberThatIsAThreadsNowIsAnotherGroup) {
  Signal end;
  std::thread thread;
  Signal started;
  pid_t tid = 0;
  thread = std::thread([&] {
    tid = gettid();
    started.Give();
    end.Await();
  });
  started.Await();
  EXPECT_EQ(Oracle().FateOf({Kind::kNumber, tid, 0}), fs::GroupFate::kEnding);
  end.Give();
  thread.join();
}

}  // namespace
}  // namespace ckptfs::fuse
