// FileSystemOptions: what a mount is told about itself; never changes.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "common/clock.h"

namespace ckptfs::fs {

// What a close means of a writer that the kernel has no number for (it is in
// another PID namespace), and that cannot be told from its children.
enum class InvisibleWriters {
  kClose,        // publishes what was written so far
  kFsyncRename,  // nothing; fsync, rename and the end of the last descriptor do
};

struct FileSystemOptions {
  // Where inode numbers begin. The process oracle looks for them in
  // /proc/TGID/fdinfo, where those of other file systems and of other mounts
  // stand too: give each mount a range of its own.
  std::uint64_t first_inode = 0x636b'0000'0000'0000ull;
  std::string bucket;        // for user.ckptfs.uri
  std::string prefix;        // "" or "a/b/"; keys are prefix + path
  std::string endpoint_url;  // for user.ckptfs.endpoint
  bool read_only = false;
  uid_t uid = 0;  // owner of what carries none
  gid_t gid = 0;
  mode_t file_mode = 0644;
  mode_t directory_mode = 0755;
  // 0: the ladder of PartPlan, 8 MiB up to 64 MiB.
  std::uint64_t part_bytes = 0;
  // Memory one file may hold while it is written (parts being filled, sent and
  // retained).
  std::uint64_t stream_window_bytes = 192ull << 20;
  int parts_in_flight = 8;
  // What a name must look like to be held until rename, last close or fsync.
  std::vector<std::string> held_names = {".tmp*", "*.tmp", "tmp*", "*.partial"};
  InvisibleWriters invisible_writers = InvisibleWriters::kClose;
  // Looks after every event whether what the code relies on holds, and ends the
  // program if not. For tests.
#ifdef NDEBUG
  bool check_invariants = false;
#else
  bool check_invariants = true;
#endif
  Duration attribute_ttl = std::chrono::seconds(1);
  Duration listing_ttl = std::chrono::seconds(1);
};

}  // namespace ckptfs::fs
