// Handle: one open file description. Holds a Version, never a key: the key is
// derived at commit, because a parent may have been renamed.
// Strand only.
#pragma once

#include <sys/types.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "fs/process_oracle.h"
#include "fs/publish/group_set.h"
#include "fs/read/read_stream.h"
#include "fs/tree/inode.h"

namespace ckptfs::fs {

struct Handle {
  // How long a thread is remembered. Its number can belong to another process
  // only after it has ended, which it cannot while it waits for an answer; in
  // this time the numbers do not come round.
  static constexpr Duration kThreadMemory = std::chrono::milliseconds(100);

  HandleId id{};
  std::shared_ptr<File> file;
  bool readable = false;
  bool writable = false;
  bool append = false;

  // Who opened it or wrote through it, less those that a signal ended.
  GroupSet groups;
  struct Thread {
    SteadyTime asked{};
    ProcessGroup group;
  };
  std::map<pid_t, Thread> threads;  // that wrote lately

  // The file's epoch when this handle last changed the content. Equal to the
  // file's now: some of the unpublished bytes are this handle's.
  std::uint64_t wrote_epoch = 0;
  // Bytes that it wrote were dropped: what it writes from now on would be a
  // part of something that nobody has.
  bool lost() const { return file->content.Discarded(wrote_epoch); }

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
