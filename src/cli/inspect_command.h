// ckptfs inspect and ckptfs verify: checkpoint files, looked at from outside.
#pragma once

#include "cli/exit_code.h"
#include "cli/options.h"

namespace ckptfs::cli {

// Prints the summary to stdout, what is wrong as one line to stderr. Blocks.
ExitCode RunInspect(const InspectOptions& options);
// Likewise; damages are part of the report, on stdout.
ExitCode RunVerify(const VerifyOptions& options);

}  // namespace ckptfs::cli
