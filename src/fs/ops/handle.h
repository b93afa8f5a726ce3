// Handle: one open file description. Holds a Version, never a key: the key is
// derived at commit, because a parent may have been renamed.
// Strand only.
#pragma once

#include <sys/types.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "fs/tree/inode.h"
#include "fs/process_oracle.h"
#include "fs/read/read_stream.h"
#include "fs/strand_sync.h"

namespace ckptfs::fs {

struct Handle {
  HandleId id{};
  std::shared_ptr<File> file;
  bool readable = false;
  bool writable = false;
  bool append = false;

  // Who opened it or wrote through it; only these can publish by closing.
  std::vector<ProcessGroup> groups;
  bool MayInclude(const ProcessGroup& group) const {
    return std::any_of(groups.begin(), groups.end(),
                       [&](const auto& g) { return MayBeSame(g, group); });
  }
  std::set<pid_t> known_threads;  // already in groups, or being looked up
  int lookups_pending = 0;
  StrandEvent lookup_ended;

  // The file's publish_epoch when this handle last changed the content. Equal
  // to the file's now: some of the unpublished bytes are this handle's.
  std::uint64_t wrote_epoch = 0;

  // Reads of the base. INVARIANT: pinned to the key and ETag below.
  std::shared_ptr<ReadStream> stream;
  std::string stream_key;
  ETag stream_etag;
};

// One opendir: the names as they were at its first read.
struct DirectoryHandle {
  std::shared_ptr<Directory> directory;
  bool loaded = false;
  std::vector<std::pair<std::string, bool>> names;  // name, is a directory
};

}  // namespace ckptfs::fs
