#include "fuse/proc_process_oracle.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include "common/log.h"
#include "fuse/proc_stat.h"

namespace ckptfs::fuse {

namespace {

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
  explicit State(std::string root) : proc_root(std::move(root)) {}

  const std::string proc_root;
  std::atomic<bool> warned = false;

  std::string Path(pid_t pid, std::string_view file) const {
    return proc_root + "/" + std::to_string(pid) + "/" + std::string(file);
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

  std::optional<ProcStat> ReadStat(const std::string& path) {
    const std::optional<std::string> text = ReadProcFile(path);
    if (!text.has_value()) {
      NoteUnreadable(path, errno);
      return {};
    }
    return ParseProcStat(*text);
  }

  fs::ProcessGroup GroupOf(pid_t tid) {
    if (tid <= 0) return {};
    const std::string path = Path(tid, "status");
    const std::optional<std::string> status = ReadProcFile(path);
    if (!status.has_value()) {
      NoteUnreadable(path, errno);
      return {};
    }
    const std::optional<pid_t> tgid = ParseTgid(*status);
    if (!tgid.has_value()) return {};
    const std::optional<ProcStat> stat = ReadStat(Path(*tgid, "stat"));
    if (!stat.has_value()) return {};
    return {*tgid, stat->start_time};
  }

  // The thread that sends the FLUSH must be ending, and its group by a signal.
  // The exit code alone will not do: for a group that is stopped, the field
  // holds the stopping signal (do_task_stat, fs/proc/array.c), and one that is
  // killed in close() has finished with the file.
  bool DyingBySignal(pid_t tgid, pid_t tid) {
    const std::optional<ProcStat> thread =
        ReadStat(Path(tgid, "task/" + std::to_string(tid) + "/stat"));
    if (!thread.has_value() || !IsExiting(*thread)) return false;
    // In the group's own file the field is the code of the whole group.
    const std::optional<ProcStat> group = ReadStat(Path(tgid, "stat"));
    // The low seven bits are the signal, as in wait(2).
    return group.has_value() && (group->exit_code & 0x7f) != 0;
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
    fs::FlushWitness witness;
    witness.group = GroupOf(tid);
    if (!witness.group.known()) return witness;
    witness.dying_by_signal = DyingBySignal(witness.group.tgid, tid);
    witness.has_other_writable_descriptor = HasWritableDescriptor(tid, ino);
    return witness;
  }

  bool IsAlive(fs::ProcessGroup group) {
    if (!group.known()) return true;  // what cannot be seen counts as living
    const std::string path = Path(group.tgid, "stat");
    const std::optional<std::string> text = ReadProcFile(path);
    if (!text.has_value()) {
      const int error = errno;
      NoteUnreadable(path, error);
      return error != ENOENT && error != ESRCH;
    }
    const std::optional<ProcStat> leader = ParseProcStat(*text);
    if (!leader.has_value()) return true;
    if (leader->start_time != group.start_time) return false;
    if (!IsExiting(*leader)) return true;
    // The first thread may end before the others (pthread_exit in main).
    bool living = false;
    ForEachEntry(Path(group.tgid, "task"), [&](int dir, const char* name) {
      const std::string file = std::string(name) + "/stat";
      const std::optional<std::string> thread = ReadProcFile(dir, file.c_str());
      const std::optional<ProcStat> stat =
          thread.has_value() ? ParseProcStat(*thread) : std::nullopt;
      living = stat.has_value() && !IsExiting(*stat);
      return !living;
    });
    return living;
  }
};

ProcProcessOracle::ProcProcessOracle(Executor& work, std::string proc_root)
    : work_(work), state_(std::make_shared<State>(std::move(proc_root))) {}

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

Future<bool> ProcProcessOracle::IsAlive(fs::ProcessGroup group) {
  Promise<bool> promise;
  Future<bool> future = promise.GetFuture();
  work_.Post([state = state_, group, promise = std::move(promise)]() mutable {
    promise.Set(state->IsAlive(group));
  });
  return future;
}

}  // namespace ckptfs::fuse
