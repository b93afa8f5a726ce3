// Mounting and unmounting: by mount(2) where that is allowed, by the setuid
// program fusermount3 otherwise. libfuse could do it, but tells no reason when
// it fails.
#pragma once

#include <ckptfs/result.h>

#include <string>

#include "common/file_descriptor.h"

namespace ckptfs::fuse {

using ckptfs::FileDescriptor;

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
