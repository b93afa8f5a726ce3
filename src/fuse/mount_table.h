// What is mounted where, read from /proc/self/mountinfo: unlike stat() it never
// touches a file system, so it cannot hang on a dead mount.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace ckptfs::fuse {

struct MountEntry {
  std::string device;  // "major:minor", as in /sys/class/bdi
  std::string type;    // e.g. "fuse.ckptfs"
  std::string source;
};

// The topmost mount on exactly this absolute path. Blocks on /proc only.
std::optional<MountEntry> FindMount(std::string_view path);

// The same over given text; see proc(5) for the format.
std::optional<MountEntry> FindMountIn(std::string_view mountinfo,
                                      std::string_view path);

// Lets the kernel read ahead up to `kib` on the mount with this device. Only
// root may; false with errno set if it failed.
bool SetReadAhead(const std::string& device, unsigned kib);

}  // namespace ckptfs::fuse
