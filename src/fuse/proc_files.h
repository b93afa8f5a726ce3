// ProcFiles: how files and directories of /proc are read, and why one could
// not be.
#pragma once

#include <sys/types.h>

#include <ckptfs/result.h>

#include <functional>
#include <string>
#include <string_view>

namespace ckptfs::fuse {

// openat(2) as far as it is needed here. Tests put one in its place that fails.
using OpenAtCall = std::function<int(int directory, const char* path)>;
// For reading, close-on-exec.
int OpenAtForReading(int directory, const char* path);

// A text, or the errno.
using ProcText = tl::expected<std::string, int>;

// Thread-safe if `open_at` is. Blocks on /proc only.
class ProcFiles {
 public:
  // `root` is "/proc", but for tests.
  ProcFiles(std::string root, OpenAtCall open_at)
      : root_(std::move(root)), open_at_(std::move(open_at)) {}

  // Whether the numbers of these files are those of our PID namespace. In a
  // container another one's /proc may be mounted, where a number names somebody
  // else.
  bool IsOfOurNamespace() const;

  std::string Path(pid_t pid, std::string_view file) const;

  // Whole, whatever its length: the list of groups alone can push what stands
  // behind it in a status file hundreds of KiB down. EFBIG above 64 MiB.
  ProcText Read(const std::string& path) const;
  ProcText Read(int directory, const char* path) const;
  // At most the first 4 KiB.
  ProcText ReadHead(int directory, const char* path) const;

  // The entries of a directory one by one, without "." and ".."; false from
  // `visit` ends it. 0, or why the directory could not be read to its end.
  int ForEachEntry(
      const std::string& path,
      const std::function<bool(int directory, const char* name)>& visit) const;

 private:
  ProcText ReadAtMost(int directory, const char* path, std::size_t limit) const;

  const std::string root_;
  const OpenAtCall open_at_;
};

}  // namespace ckptfs::fuse
