// Going to the background: the command returns when the mount works, or with
// the reason why it does not.
#pragma once

#include <ckptfs/result.h>

#include <string>

#include "cli/exit_code.h"
#include "fuse/mount_device.h"

namespace ckptfs::cli {

// How a start is told to whoever waits for it: the parent process of a
// background mount, or the terminal. Movable; used from one thread.
class StartReport {
 public:
  // To the terminal.
  StartReport() = default;
  // To the parent process.
  explicit StartReport(fuse::FileDescriptor pipe) : pipe_(std::move(pipe)) {}

  // The mount works. False if the parent has gone meanwhile (Ctrl-C): then
  // nobody knows of the mount, and it should not stay.
  bool Succeeded();
  // `line` is printed after "ckptfs: "; returns `code` for convenience.
  ExitCode Failed(ExitCode code, const std::string& line);

 private:
  bool Send(ExitCode code, const std::string& line);
  fuse::FileDescriptor pipe_;  // invalid: terminal
};

struct ForkResult {
  bool is_parent = false;
  ExitCode code = ExitCode::kSuccess;  // parent: what to exit with
  StartReport report;                  // child
};

// Forks; must be called before any thread exists. The parent comes back when
// the child has reported or died, having printed what it said. The child is the
// leader of a session of its own without a terminal, in "/", with standard
// input and output at /dev/null, standard error in `log_file` and no other
// descriptor.
Result<ForkResult> ForkToBackground(const std::string& log_file);

}  // namespace ckptfs::cli
