// KernelNotifier: what fs tells the kernel unasked. Implemented in fuse.
#pragma once

#include <string>

#include "fs/types.h"

namespace ckptfs::fs {

// Calls return at once; the notifications happen on the work pool, because the
// kernel may hold the inode's lock until the request in flight is answered.
class KernelNotifier {
 public:
  virtual ~KernelNotifier() = default;
  // Drops cached attributes and pages of the inode.
  virtual void InvalidateInode(InodeNumber ino) = 0;
  // Drops a cached name.
  virtual void InvalidateEntry(InodeNumber parent, std::string name) = 0;
};

}  // namespace ckptfs::fs
