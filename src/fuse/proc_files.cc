#include "fuse/proc_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "fuse/mount_device.h"

namespace ckptfs::fuse {

namespace {

constexpr std::size_t kHeadBytes = 4096;
// 65,536 groups of ten digits (NGROUPS_MAX) are less than 1 MiB; 100,000 mounts
// (fs.mount-max) of 200 bytes are 20 MiB.
constexpr std::size_t kMaxBytes = std::size_t{64} << 20;

struct DirectoryCloser {
  void operator()(DIR* d) const { closedir(d); }
};
using Directory = std::unique_ptr<DIR, DirectoryCloser>;

}  // namespace

int OpenAtForReading(int directory, const char* path) {
  return openat(directory, path, O_RDONLY | O_CLOEXEC);
}

bool ProcFiles::IsOfOurNamespace() const {
  char target[32];
  const ssize_t n = readlink((root_ + "/self").c_str(), target, sizeof target);
  return n > 0 && std::string_view(target, static_cast<std::size_t>(n)) ==
                      std::to_string(getpid());
}

std::string ProcFiles::Path(pid_t pid, std::string_view file) const {
  return root_ + "/" + std::to_string(pid) + "/" + std::string(file);
}

ProcText ProcFiles::Read(const std::string& path) const {
  return ReadAtMost(AT_FDCWD, path.c_str(), kMaxBytes);
}

ProcText ProcFiles::Read(int directory, const char* path) const {
  return ReadAtMost(directory, path, kMaxBytes);
}

ProcText ProcFiles::ReadHead(int directory, const char* path) const {
  return ReadAtMost(directory, path, kHeadBytes);
}

ProcText ProcFiles::ReadAtMost(int directory, const char* path,
                               std::size_t limit) const {
  const FileDescriptor file(open_at_(directory, path));
  if (!file.valid()) return tl::unexpected<int>(errno);
  std::string text(kHeadBytes, '\0');
  std::size_t used = 0;
  while (true) {
    const ssize_t n = read(file.get(), text.data() + used, text.size() - used);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return tl::unexpected<int>(errno);
    if (n == 0) break;
    used += static_cast<std::size_t>(n);
    if (used < text.size()) continue;
    if (used == limit) {
      if (limit == kHeadBytes) break;
      return tl::unexpected<int>(EFBIG);
    }
    text.resize(std::min(2 * text.size(), limit));
  }
  text.resize(used);
  return text;
}

int ProcFiles::ForEachEntry(
    const std::string& path,
    const std::function<bool(int directory, const char* name)>& visit) const {
  FileDescriptor descriptor(open_at_(AT_FDCWD, path.c_str()));
  if (!descriptor.valid()) return errno;
  const Directory directory(fdopendir(descriptor.get()));
  if (directory == nullptr) return errno;
  descriptor.release();
  while (true) {
    errno = 0;
    const dirent* const entry = readdir(directory.get());
    if (entry == nullptr) return errno;
    if (entry->d_name[0] == '.') continue;
    if (!visit(dirfd(directory.get()), entry->d_name)) return 0;
  }
}

}  // namespace ckptfs::fuse
