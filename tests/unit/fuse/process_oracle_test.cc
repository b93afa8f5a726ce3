// What the process oracle says where it sees little: calls that fail, a /proc
// that is closed, another namespace's or made up; and the fate of real groups.
#include "fuse/proc_process_oracle.h"

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

#include "common/executors.h"

namespace ckptfs::fuse {
namespace {

using Kind = fs::ProcessGroup::Kind;
using Options = ProcProcessOracle::Options;

// An oracle with what it needs, asked in turn.
class Oracle {
 public:
  explicit Oracle(Options options = {}) : oracle_(work_, std::move(options)) {}
  fs::ProcessGroup GroupOf(pid_t tid) {
    return oracle_.GroupOf(tid).Get().value();
  }
  fs::FlushWitness Witness(pid_t tid, fs::InodeNumber ino = {}) {
    return oracle_.WitnessFlush(tid, ino).Get().value();
  }
  fs::GroupFate FateOf(const fs::ProcessGroup& group) {
    return oracle_.FateOf(group).Get().value();
  }

 private:
  ThreadPool work_{"witness", 1};
  ProcProcessOracle oracle_;
};

int FailWith(int error) {
  errno = error;
  return -1;
}

Options PidfdFails(int error) {
  Options options;
  options.pidfd_open = [error](pid_t) { return FailWith(error); };
  return options;
}

// Of paths that hold `part`.
Options OpenFails(const std::string& part, int error) {
  Options options;
  options.open_at = [part, error](int directory, const char* path) {
    return std::string(path).find(part) == std::string::npos
               ? OpenAtForReading(directory, path)
               : FailWith(error);
  };
  return options;
}

void ExpectUnseen(const fs::FlushWitness& witness) {
  EXPECT_FALSE(witness.group.known());
  EXPECT_FALSE(witness.dying_by_signal);
  EXPECT_FALSE(witness.has_other_writable_descriptor);
}

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
  Options no_proc;
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
  Options old;
  old.pidfd_open = [](pid_t) { return open("/dev/null", O_RDONLY); };
  EXPECT_EQ(Oracle(old).GroupOf(getpid()).kind, Kind::kStartTime);
}

TEST(ProcessOracle, AStartTimeThatCannotBeReadLeavesTheNumber) {
  Options options = PidfdFails(ENOSYS);
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
  Options closed;
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
  Options hasty;
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

// A made-up /proc. Numbers of real processes: the oracle asks the kernel, too,
// whether they exist.
class FakeProc : public ::testing::Test {
 protected:
  FakeProc() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "ckptfs-proc-XXXXXX")
            .native();
    if (mkdtemp(pattern.data()) == nullptr) std::abort();
    root_ = pattern;
    Self(getpid());
  }
  ~FakeProc() override { std::filesystem::remove_all(root_); }

  void Self(pid_t pid) {
    std::filesystem::remove(root_ / "self");
    std::filesystem::create_symlink(std::to_string(pid), root_ / "self");
  }
  void Write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  static std::string Status(pid_t tgid, int threads, bool memory) {
    return "Name:\tx\nTgid:\t" + std::to_string(tgid) + "\n" +
           (memory ? "VmExe:\t 8 kB\n" : "") + "Threads:\t" +
           std::to_string(threads) + "\n";
  }
  static std::string Stat(char state, unsigned start_time, int exit_code) {
    std::string text = std::string("1 (x) ") + state;
    for (int field = 4; field <= 51; ++field) {
      text += " " + std::to_string(field == 22 ? start_time : 0u);
    }
    return text + " " + std::to_string(exit_code) + "\n";
  }
  Options InRoot() const {
    Options options = PidfdFails(ENOSYS);
    options.proc_root = root_;
    return options;
  }

  const pid_t pid_ = getpid();
  const std::string me_ = std::to_string(pid_) + "/";
  std::filesystem::path root_;
};

// Another namespace's /proc: a number there is somebody else.
TEST_F(FakeProc, OfAnotherNamespaceIsNotBelieved) {
  Write(me_ + "status", Status(pid_, 1, false));
  Write(me_ + "stat", Stat('Z', 7, SIGKILL));
  Write(me_ + "task/" + me_ + "stat", Stat('Z', 7, SIGKILL));
  Oracle oracle(InRoot());
  EXPECT_TRUE(oracle.Witness(pid_).dying_by_signal);
  EXPECT_EQ(oracle.FateOf({Kind::kNumber, pid_, 0}), fs::GroupFate::kEnding);
  Self(pid_ + 1);
  ExpectUnseen(oracle.Witness(pid_));
  EXPECT_FALSE(oracle.GroupOf(pid_).known());
  EXPECT_EQ(oracle.FateOf({Kind::kNumber, pid_, 0}), fs::GroupFate::kLiving);
}

// A group lives unless every one of its threads was seen without memory.
TEST_F(FakeProc, AllThreadsMustHaveEnded) {
  const fs::ProcessGroup group{Kind::kNumber, pid_, 0};
  Oracle oracle(InRoot());
  Write(me_ + "status", Status(pid_, 3, false));
  EXPECT_EQ(oracle.FateOf(group), fs::GroupFate::kLiving) << "no threads seen";
  Write(me_ + "task/" + me_ + "status", Status(pid_, 3, false));
  Write(me_ + "task/1/status", Status(pid_, 3, false));
  EXPECT_EQ(oracle.FateOf(group), fs::GroupFate::kLiving) << "two of three";
  Write(me_ + "task/2/status", "damaged");
  EXPECT_EQ(oracle.FateOf(group), fs::GroupFate::kLiving) << "unreadable";
  Write(me_ + "task/2/status", Status(pid_, 3, true));
  EXPECT_EQ(oracle.FateOf(group), fs::GroupFate::kLiving) << "one lives";
  Write(me_ + "task/2/status", Status(pid_, 3, false));
  EXPECT_EQ(oracle.FateOf(group), fs::GroupFate::kEnding);
  Options hasty = InRoot();
  hasty.scan_limit = std::chrono::milliseconds(0);
  EXPECT_EQ(Oracle(hasty).FateOf(group), fs::GroupFate::kLiving);
  // Without the line it is not known how many there are.
  Write(me_ + "status", "Tgid:\t" + std::to_string(pid_) + "\n");
  EXPECT_EQ(oracle.FateOf(group), fs::GroupFate::kLiving);
}

// A listing jumps over threads while others go away; their number tells.
TEST_F(FakeProc, AListingThatThreadsEndedUnderIsNotBelieved) {
  for (const char* thread : {"1", "2", "3"}) {
    Write(me_ + "task/" + thread + "/status", Status(pid_, 3, false));
  }
  const struct {
    int before;
    int after;
    fs::GroupFate fate;
  } kCases[] = {
      {3, 3, fs::GroupFate::kEnding},
      {4, 3, fs::GroupFate::kLiving},
      {3, 4, fs::GroupFate::kLiving},
  };
  for (const auto& c : kCases) {
    Write(me_ + "status", Status(pid_, c.before, false));
    Options options = InRoot();
    options.open_at = [&](int directory, const char* path) {
      if (std::string(path) == "3/status") {
        Write(me_ + "status", Status(pid_, c.after, false));
      }
      return OpenAtForReading(directory, path);
    };
    EXPECT_EQ(Oracle(options).FateOf({Kind::kNumber, pid_, 0}), c.fate);
  }
}

TEST_F(FakeProc, StartTimesTellGroupsApart) {
  Write(me_ + "status", Status(pid_, 1, true));
  Write(me_ + "stat", Stat('S', 70, 0));
  Oracle oracle(InRoot());
  EXPECT_EQ(oracle.GroupOf(pid_),
            (fs::ProcessGroup{Kind::kStartTime, pid_, 70}));
  EXPECT_EQ(oracle.FateOf({Kind::kStartTime, pid_, 70}),
            fs::GroupFate::kLiving);
  EXPECT_EQ(oracle.FateOf({Kind::kStartTime, pid_, 69}),
            fs::GroupFate::kEnding);
  EXPECT_EQ(oracle.FateOf({Kind::kPidfd, pid_, 69}), fs::GroupFate::kLiving);
}

// In the group's stat file the exit code field also holds the signal that
// stopped the group, or for which a tracer stopped its first thread.
TEST_F(FakeProc, OnlyASignalThatEndsIsDeath) {
  const struct {
    int own;
    char state;
    int group;
    bool dying;
  } kCases[] = {
      {0, 'Z', 0, false},
      {3 << 8, 'Z', 3 << 8, false},
      {SIGKILL, 'Z', SIGKILL, true},
      {SIGSEGV | 0x80, 'S', 0, true},
      {0, 'Z', SIGKILL, true},
      {0, 'Z', SIGSTOP, false},
      {0, 'T', SIGTSTP, false},
      {0, 't', SIGTRAP, false},
      {SIGTERM, 't', SIGTRAP, true},
  };
  Write(me_ + "status", Status(pid_, 1, false));
  Oracle oracle(InRoot());
  for (const auto& c : kCases) {
    Write(me_ + "stat", Stat(c.state, 70, c.group));
    Write(me_ + "task/" + me_ + "stat", Stat('X', 70, c.own));
    EXPECT_EQ(oracle.Witness(pid_).dying_by_signal, c.dying)
        << c.own << c.state << c.group;
  }
  std::filesystem::remove(root_ / (me_ + "task/" + me_ + "stat"));
  std::filesystem::remove(root_ / (me_ + "stat"));
  EXPECT_FALSE(oracle.Witness(pid_).dying_by_signal);
}

// A read that waits, as for an execve, does not keep the oracle.
TEST_F(FakeProc, AStatFileThatKeepsItsReaderWaiting) {
  Write(me_ + "status", Status(pid_, 1, true));
  const std::string stat = root_ / (me_ + "stat");
  ASSERT_EQ(mkfifo(stat.c_str(), 0600), 0);
  Options options = InRoot();
  options.stat_limit = std::chrono::milliseconds(20);
  Oracle oracle(options);
  const fs::ProcessGroup expected{Kind::kNumber, pid_, 0};
  EXPECT_EQ(oracle.GroupOf(pid_), expected);
  EXPECT_EQ(oracle.GroupOf(pid_), expected) << "the reader is still at it";
  EXPECT_EQ(oracle.FateOf({Kind::kStartTime, pid_, 70}),
            fs::GroupFate::kLiving);
  // The execve goes on, and so does the reader.
  std::ofstream(stat) << Stat('S', 70, 0);
  std::filesystem::remove(stat);
  Write(me_ + "stat", Stat('S', 70, 0));
  fs::ProcessGroup group = expected;
  for (int i = 0; i < 500 && group == expected; ++i) {
    group = oracle.GroupOf(pid_);
  }
  EXPECT_EQ(group, (fs::ProcessGroup{Kind::kStartTime, pid_, 70}));
}

TEST_F(FakeProc, DescriptorsThatCannotBeReadDoNotCount) {
  constexpr auto kIno = fs::InodeNumber{77};
  Write(me_ + "status", Status(pid_, 1, true));
  Write(me_ + "stat", Stat('S', 70, 0));
  Write(me_ + "fdinfo/3", "pos:\t0\nflags:\t01\nmnt_id:\t1\nino:\t77\n");
  EXPECT_TRUE(
      Oracle(InRoot()).Witness(pid_, kIno).has_other_writable_descriptor);
  for (const char* part : {"/fdinfo", "3"}) {
    for (const int error : {EMFILE, EACCES, EPERM, ENOENT}) {
      Options options = OpenFails(part, error);
      if (*part == '3') {
        options.open_at = [error](int directory, const char* path) {
          return std::string(path) == "3" ? FailWith(error)
                                          : OpenAtForReading(directory, path);
        };
      }
      options.proc_root = root_;
      const fs::FlushWitness witness = Oracle(options).Witness(pid_, kIno);
      EXPECT_TRUE(witness.group.known());
      EXPECT_FALSE(witness.has_other_writable_descriptor) << part << error;
    }
  }
}

// One that is closed during the look ends nothing.
TEST_F(FakeProc, ADescriptorThatIsClosedMeanwhileIsPassedOver) {
  Write(me_ + "status", Status(pid_, 1, true));
  for (const char* name : {"3", "4"}) {
    Write(me_ + "fdinfo/" + name, "flags:\t01\nino:\t77\n");
  }
  for (const int error : {ENOENT, EMFILE}) {
    Options options = InRoot();
    bool failed = false;
    options.open_at = [&](int directory, const char* path) {
      if (std::string(path).size() > 1 || std::exchange(failed, true)) {
        return OpenAtForReading(directory, path);
      }
      return FailWith(error);
    };
    EXPECT_EQ(Oracle(options)
                  .Witness(pid_, fs::InodeNumber{77})
                  .has_other_writable_descriptor,
              error == ENOENT);
  }
}

// In the middle of an execve, files that it may withhold are left alone.
TEST_F(FakeProc, InExecOnlyTheStatusIsRead) {
  Write(me_ + "status",
        "Tgid:\t" + std::to_string(pid_) + "\nVmExe:\t 0 kB\nThreads:\t1\n");
  Write(me_ + "stat", Stat('R', 70, 0));
  Write(me_ + "fdinfo/3", "flags:\t01\nino:\t77\n");
  Oracle oracle(InRoot());
  const fs::FlushWitness witness = oracle.Witness(pid_, fs::InodeNumber{77});
  const fs::ProcessGroup by_number{Kind::kNumber, pid_, 0};
  EXPECT_EQ(witness.group, by_number);
  EXPECT_FALSE(witness.has_other_writable_descriptor);
  EXPECT_EQ(oracle.GroupOf(pid_), by_number);
  EXPECT_EQ(oracle.FateOf({Kind::kStartTime, pid_, 70}),
            fs::GroupFate::kLiving);
}

// Of a group with very many descriptors not all are looked at.
TEST_F(FakeProc, TheLookThroughDescriptorsEnds) {
  Write(me_ + "status", Status(pid_, 1, true));
  Write(me_ + "fdinfo/3", "pos:\t0\nflags:\t01\nmnt_id:\t1\nino:\t77\n");
  Options options = InRoot();
  options.scan_limit = std::chrono::milliseconds(0);
  EXPECT_FALSE(Oracle(options)
                   .Witness(pid_, fs::InodeNumber{77})
                   .has_other_writable_descriptor);
}

}  // namespace
}  // namespace ckptfs::fuse
