#include "checkpoint/io/file_sink.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>
#include <vector>

#include "checkpoint/io/file_error.h"
#include "checkpoint/io/run_on.h"
#include "common/log.h"
#include "transfer/nonce.h"

namespace ckptfs {

namespace {

// IOV_MAX of Linux (limits.h).
constexpr std::size_t kMaxIov = 1024;

std::string Folder(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

Result<void> WriteAll(int fd, const std::string& path, std::uint64_t offset,
                      const Payload& payload) {
  std::vector<iovec> iov;
  for (const auto& s : payload.segments) {
    // pwritev takes non-const memory and only reads it.
    if (!s.empty()) {
      iov.push_back({const_cast<std::byte*>(s.data()), s.size()});
    }
  }
  std::size_t first = 0;
  while (first < iov.size()) {
    const auto count = std::min(kMaxIov, iov.size() - first);
    ssize_t n = pwritev(fd, &iov[first], static_cast<int>(count),
                        static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Fail(FileError(errno, "write " + path));
    offset += static_cast<std::uint64_t>(n);
    while (n > 0) {
      iovec& v = iov[first];
      const auto step = std::min(v.iov_len, static_cast<std::size_t>(n));
      v.iov_base = static_cast<std::byte*>(v.iov_base) + step;
      v.iov_len -= step;
      n -= static_cast<ssize_t>(step);
      if (v.iov_len == 0) ++first;
    }
  }
  return {};
}

Result<void> RemoveFile(const std::string& path) {
  if (unlink(path.c_str()) != 0 && errno != ENOENT) {
    return Fail(FileError(errno, "unlink " + path));
  }
  return {};
}

Result<void> Rename(const std::string& from, const std::string& to,
                    bool no_replace) {
  const unsigned flags = no_replace ? RENAME_NOREPLACE : 0;
  if (renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), flags) == 0) {
    return {};
  }
  if (errno == EEXIST) {
    return Fail(ErrorCode::kPreconditionFailed, to + " exists");
  }
  return Fail(FileError(errno, "rename to " + to));
}

// What a save of `path` replaces.
struct Target {
  std::string path;               // where symbolic links lead
  std::optional<struct stat> st;  // nullopt: there is nothing yet
};

// kInvalidArgument: something that is there and is no regular file.
Result<Target> TargetOf(std::string path) {
  // As many as Linux follows itself (path_resolution(7)).
  for (int links = 0; links < 40; ++links) {
    struct stat st{};
    if (lstat(path.c_str(), &st) != 0) {
      if (errno == ENOENT) return Target{std::move(path), std::nullopt};
      return Fail(FileError(errno, "stat " + path));
    }
    if (S_ISREG(st.st_mode)) return Target{std::move(path), st};
    if (S_ISDIR(st.st_mode)) return Fail(FileError(EISDIR, "replace " + path));
    if (!S_ISLNK(st.st_mode)) {
      return Fail(ErrorCode::kInvalidArgument,
                  path + " is not a regular file: it is not replaced");
    }
    char link[PATH_MAX];
    const ssize_t n = readlink(path.c_str(), link, sizeof link);
    if (n < 0) return Fail(FileError(errno, "readlink " + path));
    const std::string to(link, static_cast<std::size_t>(n));
    path = to.starts_with('/') ? to : Folder(path) + "/" + to;
  }
  return Fail(FileError(ELOOP, "replace " + path));
}

// Who may read the file that is replaced may read the new one, and nobody else.
Result<void> KeepAccess(int fd, const std::string& path,
                        const struct stat& before) {
  struct stat now{};
  if (fstat(fd, &now) != 0) return Fail(FileError(errno, "stat " + path));
  if (now.st_uid != before.st_uid || now.st_gid != before.st_gid) {
    // Others than root may give nothing away: then it is ours, as it would be
    // if it had been removed and made anew.
    if (fchown(fd, before.st_uid, before.st_gid) != 0 && errno != EPERM) {
      return Fail(FileError(errno, "chown " + path));
    }
  }
  if (fchmod(fd, before.st_mode & 0777) != 0) {
    return Fail(FileError(errno, "chmod " + path));
  }
  return {};
}

// The name is durable once its folder is.
Result<void> SyncFolder(const std::string& folder) {
  const UniqueFd fd(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return Fail(FileError(errno, "open " + folder));
  // File systems without fsync of directories say EINVAL or ENOSYS.
  if (fsync(fd.get()) != 0 && errno != EINVAL && errno != ENOSYS) {
    return Fail(FileError(errno, "fsync " + folder));
  }
  return {};
}

}  // namespace

FileSink::FileSink(std::string path, std::string temporary, UniqueFd fd,
                   Executor& pool)
    : path_(std::move(path)),
      temporary_(std::move(temporary)),
      fd_(std::move(fd)),
      on_mount_(fgetxattr(fd_.get(), "user.ckptfs.uri", nullptr, 0) >= 0),
      pool_(pool) {}

FileSink::~FileSink() {
  if (temporary_.empty()) return;
  fd_.Reset();
  const Result<void> removed = RemoveFile(temporary_);
  if (!removed) LogWarning("left over: " + removed.error().message());
}

Task<Result<std::unique_ptr<FileSink>>> FileSink::Create(std::string path,
                                                         std::uint64_t size,
                                                         Executor& pool) {
  struct Created {
    std::string path;
    std::string temporary;
    UniqueFd fd;
  };
  const auto create = [path, size]() -> Result<Created> {
    CKPTFS_ASSIGN_OR_RETURN(const Target target, TargetOf(path));
    Created out;
    out.path = target.path;
    // A short name: NAME_MAX holds for the temporary one too.
    out.temporary = Folder(out.path) + "/.tmp-" + MakeNonce().substr(0, 16);
    out.fd = UniqueFd(open(out.temporary.c_str(),
                           O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
                           target.st ? 0600 : 0666));
    if (!out.fd.valid())
      return Fail(FileError(errno, "create " + out.temporary));
    Result<void> made;
    if (target.st) made = KeepAccess(out.fd.get(), out.temporary, *target.st);
    if (made && ftruncate(out.fd.get(), static_cast<off_t>(size)) != 0) {
      made = Fail(FileError(errno, "ftruncate " + out.temporary));
    }
    if (!made) {
      unlink(out.temporary.c_str());
      return Fail(made.error());
    }
    return out;
  };
  Future<Created> creating = RunOn<Created>(pool, create);
  Result<Created> created = co_await std::move(creating);
  if (!created) co_return Fail(created.error().WithContext("save " + path));
  co_return std::unique_ptr<FileSink>(
      new FileSink(std::move(created->path), std::move(created->temporary),
                   std::move(created->fd), pool));
}

Task<Result<void>> FileSink::Write(Payload part) {
  if (temporary_.empty()) co_return Fail(GivenUp());
  const std::uint64_t offset = written_;
  const std::uint64_t bytes = part.size();
  written_ += bytes;
  Future<void> writing = RunOn<void>(
      pool_, [fd = fd_.get(), path = path_, offset, part = std::move(part)] {
        return WriteAll(fd, path, offset, part);
      });
  Result<void> wrote = co_await std::move(writing);
  if (wrote && on_arrival_) on_arrival_(bytes);
  co_return wrote;
}

Error FileSink::GivenUp() const {
  return Error(ErrorCode::kCancelled, "save " + path_ + ": given up");
}

Task<Result<void>> FileSink::Commit(WriteCondition condition) {
  if (temporary_.empty()) co_return Fail(GivenUp());
  if (!condition.if_match.empty()) {
    co_return Fail(ErrorCode::kUnsupported,
                   path_ + ": a plain file has no version to compare with");
  }
  const auto commit = [fd = fd_.Release(), temporary = temporary_, path = path_,
                       on_mount = on_mount_,
                       no_replace = condition.if_none_match]() -> Result<void> {
    if (on_mount) {
      Result<void> renamed = Rename(temporary, path, no_replace);
      const int closed = close(fd) == 0 ? 0 : errno;
      if (renamed && closed != 0) {
        return Fail(FileError(closed, "close " + path));
      }
      return renamed;
    }
    const int synced = fsync(fd) == 0 ? 0 : errno;
    const int closed = close(fd) == 0 ? 0 : errno;
    if (synced != 0) return Fail(FileError(synced, "fsync " + path));
    if (closed != 0) return Fail(FileError(closed, "close " + path));
    CKPTFS_RETURN_IF_ERROR(Rename(temporary, path, no_replace));
    return SyncFolder(Folder(path));
  };
  Future<void> committing = RunOn<void>(pool_, commit);
  Result<void> done = co_await std::move(committing);
  if (!done) co_return Fail(done.error().WithContext("save " + path_));
  temporary_.clear();
  co_return Result<void>();
}

Task<Result<void>> FileSink::Abort() {
  if (temporary_.empty()) co_return Result<void>();
  // The descriptor stays open until a write that is under way has ended.
  Future<void> removing = RunOn<void>(
      pool_,
      [path = std::exchange(temporary_, {})] { return RemoveFile(path); });
  Result<void> removed = co_await std::move(removing);
  co_return removed;
}

}  // namespace ckptfs
