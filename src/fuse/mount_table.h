// What is mounted where, read from /proc/self/mountinfo: unlike stat() it never
// touches a file system, so it cannot hang on a dead mount.
#pragma once

#include <sys/types.h>

#include <ckptfs/result.h>

#include <optional>
#include <string>
#include <string_view>

namespace ckptfs::fuse {

struct MountEntry {
  std::string device;  // "major:minor", as in /sys/class/bdi
  std::string type;    // e.g. "fuse.ckptfs"
  std::string source;
  // Of a FUSE mount: who made it, as the kernel says.
  std::optional<uid_t> user_id;
};

// The topmost mount on exactly this absolute path, if there is one. Blocks on
// /proc only. kInternal: the table cannot be read.
Result<std::optional<MountEntry>> LookUpMount(std::string_view path);

// The same; a table that cannot be read has no mounts.
std::optional<MountEntry> FindMount(std::string_view path);

// The same over given text; see proc(5) for the format.
std::optional<MountEntry> FindMountIn(std::string_view mountinfo,
                                      std::string_view path);

// Lets the kernel read ahead up to `kib` on the mount with this device. Only
// root may; false with errno set if it failed.
bool SetReadAhead(const std::string& device, unsigned kib);

}  // namespace ckptfs::fuse
