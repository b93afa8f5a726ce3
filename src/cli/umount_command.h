// ckptfs umount DIR: ends a mount and tells what became of its files.
#pragma once

#include "cli/exit_code.h"
#include "cli/options.h"

namespace ckptfs::cli {

// Prints to stderr. Blocks until the mount is gone.
ExitCode RunUmount(const UmountOptions& options);

}  // namespace ckptfs::cli
