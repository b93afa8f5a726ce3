// ckptfs mount: checks first, then the mount, then serving it to its end.
#pragma once

#include "cli/exit_code.h"
#include "cli/options.h"

namespace ckptfs::cli {

// In the background: returns in the parent process when the mount works or has
// failed. In the foreground: returns when the mount has ended. REQUIRES: no
// thread was started yet. What is wrong is one line on stderr.
//
// In the process that served the mount it does not return but ends the process:
// requests still in flight hold on to every layer, and what matters is by then
// in S3 or named as lost.
ExitCode RunMount(MountOptions options);

}  // namespace ckptfs::cli
