#include "cli/umount_command.h"

#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>

#include "cli/control_channel.h"
#include "cli/printable.h"
#include "fuse/mount_table.h"

namespace ckptfs::cli {

namespace {

namespace stdfs = std::filesystem;

constexpr char kType[] = "fuse.ckptfs";

// The absolute path of a mount point. The mount itself may be dead or hang:
// only what lies above it is looked at, unless it is a symbolic link.
std::string ResolveMountPoint(const std::string& path) {
  std::error_code error;
  stdfs::path at = stdfs::absolute(path, error).lexically_normal();
  if (!at.has_filename()) at = at.parent_path();
  const stdfs::path parent = stdfs::canonical(at.parent_path(), error);
  if (!error) at = parent / at.filename();
  if (fuse::FindMount(at.native()).has_value()) return at.native();
  const stdfs::path target = stdfs::canonical(at, error);
  return error ? at.native() : target.native();
}

}  // namespace

ExitCode RunUmount(const UmountOptions& options) {
  const std::string path = ResolveMountPoint(options.mount_point);
  const char* const name = path.c_str();
  const std::optional<fuse::MountEntry> mount = fuse::FindMount(path);
  if (!mount.has_value() || mount->type != kType) {
    std::fprintf(stderr,
                 "ckptfs: %s is not a mount of ckptfs; see findmnt -t %s\n",
                 name, kType);
    return ExitCode::kMountPoint;
  }
  const Result<ExitCode> verdict = AskToUnmount(
      mount->device, mount->user_id.value_or(0), [](const std::string& line) {
        std::fprintf(stderr, "ckptfs: %s\n", Printable(line).c_str());
      });
  if (verdict.has_value()) return *verdict;
  std::fprintf(stderr, "ckptfs: cannot unmount %s: %s", name,
               verdict.error().message().c_str());
  if (verdict.error().code() == ErrorCode::kNotFound) {
    std::fprintf(stderr, "; if it is dead, remove it with fusermount3 -uz %s",
                 name);
  }
  std::fputc('\n', stderr);
  return verdict.error().code() == ErrorCode::kUnavailable
             ? ExitCode::kOther
             : ExitCode::kMountPoint;
}

}  // namespace ckptfs::cli
