#include "fuse/proc_process_oracle.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <optional>
#include <system_error>
#include <utility>

#include "common/log.h"
#include "fuse/mount_device.h"
#include "fuse/proc_stat.h"
#include "fuse/stat_reader.h"

namespace ckptfs::fuse {

namespace {

using Kind = fs::ProcessGroup::Kind;

// On recent kernels (seen on 6.18.44) reading the stat file of a process takes
// its exec_update_lock, as every file that checks ptrace access may. execve(2)
// holds that lock while it closes the close-on-exec descriptors: a FLUSH from
// there would wait for the oracle, which would wait for the lock. This is no
// rarity: each subprocess of a Python program gets there with copies of the
// parent's open files. Hence
//   - what can be read from the status file is read there: it takes no lock;
//   - stat and fdinfo are read only for a caller of FLUSH that is not in
//     execve. It keeps the other threads of its group from getting that far:
//     execve first waits for them to end;
//   - of any other group, stat is read by a StatReader.

constexpr long kPidFsMagic = 0x50494446;  // linux/magic.h of Linux 6.9

bool IsGone(int error) { return error == ENOENT || error == ESRCH; }

// Needs neither /proc nor a descriptor, nor a permission.
bool Exists(pid_t pid) { return kill(pid, 0) == 0 || errno != ESRCH; }

// What tells groups apart, as far as pidfd_open does.
struct PidfdAnswer {
  std::uint64_t inode = 0;  // 0: not known
  bool ever_told = true;    // false: not on this system
};

PidfdAnswer AskPidfd(const ProcProcessOracle::PidfdOpenCall& call, pid_t tgid) {
  const FileDescriptor pidfd(call(tgid));
  if (!pidfd.valid()) {
    // Before Linux 5.3; or a seccomp profile that is older than the call.
    return {0, errno != ENOSYS && errno != EPERM};
  }
  struct statfs fs_info{};
  struct stat info{};
  if (fstatfs(pidfd.get(), &fs_info) != 0) return {};
  if (fs_info.f_type != kPidFsMagic) return {0, false};
  if (fstat(pidfd.get(), &info) != 0) return {};
  return {info.st_ino, true};
}

bool IsSignal(int exit_code) { return (exit_code & 0x7f) != 0; }

// SIGKILL and its like never stop anything, and these never kill.
bool IsStop(int exit_code) {
  const int number = exit_code & 0x7f;
  return number == SIGSTOP || number == SIGTSTP || number == SIGTTIN ||
         number == SIGTTOU;
}

class TimeLimit {
 public:
  explicit TimeLimit(std::chrono::milliseconds limit)
      : end_(std::chrono::steady_clock::now() + limit) {}
  bool reached() const { return std::chrono::steady_clock::now() >= end_; }

 private:
  const std::chrono::steady_clock::time_point end_;
};

}  // namespace

int ProcProcessOracle::OpenPidfd(pid_t tgid) {
  return static_cast<int>(syscall(SYS_pidfd_open, tgid, 0));
}

struct ProcProcessOracle::State {
  explicit State(Options o)
      : options(std::move(o)),
        files(options.proc_root, options.open_at),
        stat_reader(files) {}

  const Options options;
  const ProcFiles files;
  StatReader stat_reader;
  std::atomic<bool> warned = false;

  void Warn(const std::string& what) {
    if (warned.exchange(true)) return;
    LogWarning(what +
               "; processes that cannot be seen count as living, so a file "
               "whose writer is killed may be published as it is then");
  }

  void NoteUnreadable(const std::string& path, int error) {
    Warn("cannot read " + path + ": " + std::generic_category().message(error));
  }

  bool CanSee() {
    if (files.IsOfOurNamespace()) return true;
    Warn(options.proc_root + " does not show this process under its number");
    return false;
  }

  std::optional<ProcStatus> ReadStatus(pid_t pid) {
    const std::string path = files.Path(pid, "status");
    const ProcText text = files.Read(path);
    if (!text.has_value()) {
      // Gone is an ordinary answer; but mounted with hidepid, /proc says so of
      // processes that run, too.
      if (!IsGone(text.error()) || Exists(pid)) {
        NoteUnreadable(path, text.error());
      }
      return {};
    }
    return ParseProcStatus(*text);
  }

  // Only of a group that cannot be in execve.
  std::optional<ProcStat> ReadStat(const std::string& path) {
    const ProcText text = files.Read(path);
    if (!text.has_value()) {
      if (!IsGone(text.error())) NoteUnreadable(path, text.error());
      return {};
    }
    return ParseProcStat(*text);
  }

  // The group of a thread with this status. `waits`: in close() or exit, until
  // we answer.
  fs::ProcessGroup Identify(const ProcStatus& status, bool waits) {
    const pid_t tgid = status.tgid;
    const PidfdAnswer pidfd = AskPidfd(options.pidfd_open, tgid);
    if (pidfd.inode != 0) return {Kind::kPidfd, tgid, pidfd.inode};
    // Where pidfds tell, but not now (no descriptor left), other sightings of
    // the group have a pidfd's number, with which a start time says no more
    // than the group's number does.
    if (!pidfd.ever_told && !status.in_exec) {
      const std::optional<ProcStat> stat =
          waits ? ReadStat(files.Path(tgid, "stat"))
                : stat_reader.Read(tgid, options.stat_limit);
      if (stat.has_value()) return {Kind::kStartTime, tgid, stat->start_time};
    }
    return {Kind::kNumber, tgid, 0};
  }

  fs::ProcessGroup GroupOf(pid_t tid) {
    if (tid <= 0 || !CanSee()) return {};
    const std::optional<ProcStatus> status = ReadStatus(tid);
    return status.has_value() ? Identify(*status, false) : fs::ProcessGroup{};
  }

  fs::GroupFate FateOf(const fs::ProcessGroup& group) {
    if (!group.known()) return fs::GroupFate::kLiving;
    if (!Exists(group.tgid)) return fs::GroupFate::kEnding;
    if (!CanSee()) return fs::GroupFate::kLiving;
    const std::optional<ProcStatus> status = ReadStatus(group.tgid);
    if (!status.has_value()) return fs::GroupFate::kLiving;
    // Another group's now, or that of a mere thread of one.
    if (!MayBeSame(Identify(*status, false), group)) {
      return fs::GroupFate::kEnding;
    }
    return IsWithoutMemory(*status) ? fs::GroupFate::kEnding
                                    : fs::GroupFate::kLiving;
  }

  // Whether no thread of the group has memory, for sure; `leader` is the status
  // of its first thread. A thread without memory begins no new ones. The first
  // thread may have ended, and stays as a zombie, while others go on.
  bool IsWithoutMemory(const ProcStatus& leader) {
    if (leader.has_memory || leader.threads == 0) return false;
    if (leader.threads == 1) return true;
    const TimeLimit limit(options.scan_limit);
    int ended = 0;
    bool sure = true;
    const int error = files.ForEachEntry(
        files.Path(leader.tgid, "task"), [&](int task, const char* name) {
          const ProcText text =
              files.Read(task, (std::string(name) + "/status").c_str());
          if (!text.has_value() && IsGone(text.error())) return true;
          std::optional<ProcStatus> thread;
          if (text.has_value()) thread = ParseProcStatus(*text);
          sure = thread.has_value() && !thread->has_memory && !limit.reached();
          if (sure) ++ended;
          return sure;
        });
    if (error != 0 || !sure || ended != leader.threads) return false;
    // The listing may have jumped over threads while others went away.
    const std::optional<ProcStatus> after = ReadStatus(leader.tgid);
    return after.has_value() && after->tgid == leader.tgid &&
           after->threads == ended;
  }

  // Reads the descriptors of the *thread*: those of a group whose first thread
  // has ended are not in the group's directory any more.
  bool HasWritableDescriptor(pid_t tid, fs::InodeNumber ino) {
    const TimeLimit limit(options.scan_limit);
    const std::string path = files.Path(tid, "fdinfo");
    bool found = false;
    int failure = 0;
    const int unlisted =
        files.ForEachEntry(path, [&](int directory, const char* name) {
          if (limit.reached()) {
            LogDebug(path + " has too many entries to read them all");
            return false;
          }
          const ProcText text = files.ReadHead(directory, name);
          if (!text.has_value()) {
            if (IsGone(text.error())) return true;  // closed meanwhile
            failure = text.error();
            return false;
          }
          const std::optional<DescriptorInfo> info = ParseDescriptorInfo(*text);
          found = info.has_value() &&
                  info->ino == static_cast<std::uint64_t>(ino) &&
                  (info->flags & O_ACCMODE) != O_RDONLY;
          return !found;
        });
    if (unlisted != 0) failure = unlisted;
    if (failure != 0) NoteUnreadable(path, failure);
    return found;
  }

  // Whether a signal is the end of a thread that is past exit_mm().
  bool IsDyingBySignal(pid_t tid, pid_t tgid) {
    // Set before exit_mm(), and for the threads that an exit_group or a deadly
    // signal ends it is the group's; the low seven bits are the signal, as in
    // wait(2).
    const std::optional<ProcStat> own =
        ReadStat(files.Path(tgid, "task/" + std::to_string(tid) + "/stat"));
    if (own.has_value() && IsSignal(own->exit_code)) return true;
    // A thread that was ending by itself when the signal came. But in the
    // group's file the field also holds the signal that has stopped the group,
    // or for which a tracer has stopped its first thread (do_task_stat in
    // fs/proc/array.c, ptrace_stop): those live.
    const std::optional<ProcStat> group = ReadStat(files.Path(tgid, "stat"));
    return group.has_value() && IsSignal(group->exit_code) &&
           !IsStop(group->exit_code) && group->state != 't' &&
           group->state != 'T';
  }

  fs::FlushWitness Witness(pid_t tid, fs::InodeNumber ino) {
    if (tid <= 0 || !CanSee()) return {};
    const std::optional<ProcStatus> status = ReadStatus(tid);
    if (!status.has_value()) return {};
    fs::FlushWitness witness;
    witness.group = Identify(*status, true);
    if (!status->has_memory) {
      // The thread is ending, and its descriptors with it. One that is killed
      // in close() had finished with the file.
      witness.dying_by_signal = IsDyingBySignal(tid, status->tgid);
    } else if (!status->in_exec) {
      witness.has_other_writable_descriptor = HasWritableDescriptor(tid, ino);
    }
    return witness;
  }
};

ProcProcessOracle::ProcProcessOracle(Executor& work)
    : ProcProcessOracle(work, Options()) {}

ProcProcessOracle::ProcProcessOracle(Executor& work, Options options)
    : work_(work), state_(std::make_shared<State>(std::move(options))) {}

Future<fs::ProcessGroup> ProcProcessOracle::GroupOf(pid_t tid) {
  Promise<fs::ProcessGroup> promise;
  Future<fs::ProcessGroup> future = promise.GetFuture();
  work_.Post([state = state_, tid, promise = std::move(promise)]() mutable {
    promise.Set(state->GroupOf(tid));
  });
  return future;
}

Future<fs::FlushWitness> ProcProcessOracle::WitnessFlush(pid_t tid,
                                                         fs::InodeNumber ino) {
  Promise<fs::FlushWitness> promise;
  Future<fs::FlushWitness> future = promise.GetFuture();
  work_.Post(
      [state = state_, tid, ino, promise = std::move(promise)]() mutable {
        promise.Set(state->Witness(tid, ino));
      });
  return future;
}

Future<fs::GroupFate> ProcProcessOracle::FateOf(fs::ProcessGroup group) {
  Promise<fs::GroupFate> promise;
  Future<fs::GroupFate> future = promise.GetFuture();
  work_.Post([state = state_, group, promise = std::move(promise)]() mutable {
    promise.Set(state->FateOf(group));
  });
  return future;
}

}  // namespace ckptfs::fuse
