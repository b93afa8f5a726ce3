#include "fuse/proc_process_oracle.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <map>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include "common/log.h"
#include "common/mutex.h"
#include "fuse/proc_stat.h"

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
//   - stat and fdinfo are read only for a caller that is not in execve. A
//     caller that is in close() or exit keeps the other threads of its group
//     from getting that far: execve first waits for them to end.

constexpr long kPidFsMagic = 0x50494446;  // linux/magic.h of Linux 6.9

// The inode number of a pidfd of the group, 0 where it does not tell groups
// apart. Needs no permission on the process.
std::uint64_t PidfdInode(pid_t tgid) {
  const int fd = static_cast<int>(syscall(SYS_pidfd_open, tgid, 0));
  if (fd < 0) return 0;
  struct statfs fs_info{};
  struct stat info{};
  const bool unique = fstatfs(fd, &fs_info) == 0 &&
                      fs_info.f_type == kPidFsMagic && fstat(fd, &info) == 0;
  close(fd);
  return unique ? info.st_ino : 0;
}

struct DirectoryCloser {
  void operator()(DIR* d) const { closedir(d); }
};
using Directory = std::unique_ptr<DIR, DirectoryCloser>;

// The first 4 KiB of a file: stat, status and fdinfo files have what is needed
// there. nullopt with errno set if it cannot be read.
std::optional<std::string> ReadProcFile(int directory, const char* path) {
  const int fd = openat(directory, path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  std::string text(4096, '\0');
  std::size_t used = 0;
  while (used < text.size()) {
    const ssize_t n = read(fd, text.data() + used, text.size() - used);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const int error = errno;
      close(fd);
      errno = error;
      return {};
    }
    if (n == 0) break;
    used += static_cast<std::size_t>(n);
  }
  close(fd);
  text.resize(used);
  return text;
}

std::optional<std::string> ReadProcFile(const std::string& path) {
  return ReadProcFile(AT_FDCWD, path.c_str());
}

// Reads the entries of a directory one by one; false from `visit` ends it.
// False with errno set if it cannot be opened.
template <typename Visit>
bool ForEachEntry(const std::string& path, Visit visit) {
  const Directory dir(opendir(path.c_str()));
  if (dir == nullptr) return false;
  while (const dirent* entry = readdir(dir.get())) {
    if (entry->d_name[0] == '.') continue;
    if (!visit(dirfd(dir.get()), entry->d_name)) break;
  }
  return true;
}

}  // namespace

struct ProcProcessOracle::State {
  explicit State(Options o) : options(std::move(o)) {}

  const Options options;
  std::atomic<bool> warned = false;
  Mutex mu;
  // Start times of groups that were asked for, for those found in execve on
  // kernels without pidfd inodes.
  std::map<pid_t, std::uint64_t> known_start_times CKPTFS_GUARDED_BY(mu);
  static constexpr std::size_t kMaxKnown = 4096;

  std::string Path(pid_t pid, std::string_view file) const {
    return options.proc_root + "/" + std::to_string(pid) + "/" +
           std::string(file);
  }

  void NoteUnreadable(const std::string& path, int error) {
    // Gone is an ordinary answer; anything else is a /proc that is closed.
    if (error == ENOENT || error == ESRCH) return;
    if (warned.exchange(true)) return;
    LogWarning("cannot read " + path + ": " +
               std::generic_category().message(error) +
               "; processes that cannot be seen count as living, so a file "
               "whose writer is killed may be published as it is then");
  }

  std::optional<ProcStatus> ReadStatus(pid_t pid) {
    const std::string path = Path(pid, "status");
    const std::optional<std::string> text = ReadProcFile(path);
    if (!text.has_value()) {
      NoteUnreadable(path, errno);
      return {};
    }
    return ParseProcStatus(*text);
  }

  std::optional<ProcStat> ReadStat(pid_t tgid) {
    const std::string path = Path(tgid, "stat");
    const std::optional<std::string> text = ReadProcFile(path);
    if (!text.has_value()) {
      NoteUnreadable(path, errno);
      return {};
    }
    return ParseProcStat(*text);
  }

  // The group of a thread with this status.
  fs::ProcessGroup Identify(const ProcStatus& status) {
    if (options.use_pidfd) {
      const std::uint64_t ino = PidfdInode(status.tgid);
      if (ino != 0) return {Kind::kPidfd, status.tgid, ino};
    }
    if (status.in_exec) {
      MutexLock lock(mu);
      const auto it = known_start_times.find(status.tgid);
      if (it == known_start_times.end()) return {Kind::kNumber, status.tgid, 0};
      return {Kind::kStartTime, status.tgid, it->second};
    }
    const std::optional<ProcStat> stat = ReadStat(status.tgid);
    if (!stat.has_value()) return {};
    MutexLock lock(mu);
    if (known_start_times.size() >= kMaxKnown) known_start_times.clear();
    known_start_times[status.tgid] = stat->start_time;
    return {Kind::kStartTime, status.tgid, stat->start_time};
  }

  fs::ProcessGroup GroupOf(pid_t tid) {
    if (tid <= 0) return {};
    const std::optional<ProcStatus> status = ReadStatus(tid);
    return status.has_value() ? Identify(*status) : fs::ProcessGroup{};
  }

  fs::GroupFate FateOf(const fs::ProcessGroup& group) {
    if (!group.known()) return fs::GroupFate::kLiving;
    const std::optional<ProcStatus> status = ReadStatus(group.tgid);
    if (!status.has_value()) {
      return errno == ENOENT || errno == ESRCH ? fs::GroupFate::kEnding
                                               : fs::GroupFate::kLiving;
    }
    if (!MayBeSame(Identify(*status), group)) return fs::GroupFate::kEnding;
    return status->has_memory ? fs::GroupFate::kLiving : fs::GroupFate::kEnding;
  }

  // Reads the descriptors of the *thread*: those of a group whose first thread
  // has ended are not in the group's directory any more.
  bool HasWritableDescriptor(pid_t tid, fs::InodeNumber ino) {
    const std::string path = Path(tid, "fdinfo");
    bool found = false;
    const bool listed = ForEachEntry(path, [&](int dir, const char* name) {
      const std::optional<std::string> text = ReadProcFile(dir, name);
      if (!text.has_value()) return true;  // closed meanwhile
      const std::optional<DescriptorInfo> info = ParseDescriptorInfo(*text);
      if (info.has_value() && info->ino == static_cast<std::uint64_t>(ino) &&
          (info->flags & O_ACCMODE) != O_RDONLY) {
        found = true;
      }
      return !found;
    });
    if (!listed) NoteUnreadable(path, errno);
    return found;
  }

  fs::FlushWitness Witness(pid_t tid, fs::InodeNumber ino) {
    if (tid <= 0) return {};
    const std::optional<ProcStatus> status = ReadStatus(tid);
    if (!status.has_value()) return {};
    fs::FlushWitness witness;
    witness.group = Identify(*status);
    if (!status->has_memory) {
      // The thread is ending, and its descriptors with it. The exit code alone
      // will not do: for a group that is stopped, the field holds the stopping
      // signal (do_task_stat, fs/proc/array.c), and one that is killed in
      // close() has finished with the file. In the group's own file the code
      // is that of the whole group; its low seven bits are the signal, as in
      // wait(2).
      const std::optional<ProcStat> group = ReadStat(status->tgid);
      witness.dying_by_signal =
          group.has_value() && (group->exit_code & 0x7f) != 0;
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
