// Mounting and unmounting: by mount(2) where that is allowed, by the setuid
// program fusermount3 otherwise. libfuse could do it, but tells no reason when
// it fails.
#pragma once

#include <ckptfs/result.h>

#include <string>
#include <utility>

namespace ckptfs::fuse {

// Owns a file descriptor.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    if (this != &other) {
      Close();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~FileDescriptor() { Close(); }
  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void Close();

 private:
  int fd_ = -1;
};

struct MountRequest {
  std::string mount_point;  // absolute
  std::string source;       // the first column of /proc/mounts
  bool read_only = false;
  bool allow_other = false;
};

// The absolute path of a directory that can be mounted on. Errors: kNotFound,
// kNotDirectory, kConflict (already a FUSE mount, alive or dead),
// kPermissionDenied.
Result<std::string> CheckMountPoint(const std::string& mount_point);

// Opens /dev/fuse and mounts it. Errors: kUnsupported (no /dev/fuse),
// kPermissionDenied (device, mount or allow_other refused), kNotFound
// (fusermount3 is needed and missing), kInternal (anything else mount says).
Result<FileDescriptor> MountFuse(const MountRequest& request);

// Removes the mount. Lazy: the name goes at once, the mount when nobody uses it
// any more. Forced, with lazy: unanswered requests fail at once (root only;
// fusermount3 cannot). Errors: kConflict (in use), kPermissionDenied,
// kInternal.
Result<void> UnmountFuse(const std::string& mount_point, bool lazy,
                         bool forced = false);

}  // namespace ckptfs::fuse
