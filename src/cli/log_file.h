// Where a mount in the background logs unless told otherwise.
#pragma once

#include <ckptfs/result.h>

#include <string>

namespace ckptfs::cli {

// "/mnt/my ckpt" -> "mnt-my\x20ckpt", as systemd-escape --path has it.
std::string EscapeMountPoint(const std::string& mount_point);

// /var/log/ckptfs/NAME.log for root, $XDG_STATE_HOME/ckptfs/NAME.log or
// ~/.local/state/ckptfs/NAME.log otherwise; makes the directory.
Result<std::string> DefaultLogFile(const std::string& mount_point);

}  // namespace ckptfs::cli
