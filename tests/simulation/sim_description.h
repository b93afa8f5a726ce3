// Description: one open file description of the simulated kernel, with what the
// reference model must know of it.
#pragma once

#include <fcntl.h>

#include <memory>
#include <set>

#include "fs/types.h"

namespace ckptfs::sim {

struct ModelFile;

struct Description {
  fs::InodeNumber ino{};
  fs::HandleId handle{};
  int flags = 0;
  std::shared_ptr<ModelFile> file;
  int references = 0;  // descriptors and mappings
  int mappings = 0;
  bool dead = false;              // its daemon crashed
  bool lost = false;              // its bytes were thrown away under it
  std::set<int> opened_or_wrote;  // serials of groups

  bool writable() const { return (flags & O_ACCMODE) != O_RDONLY; }
  bool readable() const { return (flags & O_ACCMODE) != O_WRONLY; }
  bool append() const { return (flags & O_APPEND) != 0; }
};

}  // namespace ckptfs::sim
