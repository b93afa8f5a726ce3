// What the process oracle makes of a /proc that a test has written: states that
// last too short to be met in the real one.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>

#include "unit/fuse/oracle_under_test.h"

namespace ckptfs::fuse {
namespace {

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
  OracleOptions InRoot() const {
    OracleOptions options = PidfdFails(ENOSYS);
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
  OracleOptions hasty = InRoot();
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
    OracleOptions options = InRoot();
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
  OracleOptions options = InRoot();
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
      OracleOptions options = OpenFails(part, error);
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
    OracleOptions options = InRoot();
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
  OracleOptions options = InRoot();
  options.scan_limit = std::chrono::milliseconds(0);
  EXPECT_FALSE(Oracle(options)
                   .Witness(pid_, fs::InodeNumber{77})
                   .has_other_writable_descriptor);
}

}  // namespace
}  // namespace ckptfs::fuse
