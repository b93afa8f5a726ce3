// The ckptfs program.
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <utility>
#include <variant>

#include "cli/exit_code.h"
#include "cli/inspect_command.h"
#include "cli/mount_command.h"
#include "cli/options.h"
#include "cli/umount_command.h"

namespace {

using ckptfs::cli::ExitCode;

ExitCode Run(ckptfs::cli::MountOptions options) {
  return ckptfs::cli::RunMount(std::move(options));
}

ExitCode Run(const ckptfs::cli::UmountOptions& options) {
  return ckptfs::cli::RunUmount(options);
}

ExitCode Run(const ckptfs::cli::InspectOptions& options) {
  return ckptfs::cli::RunInspect(options);
}

ExitCode Run(const ckptfs::cli::VerifyOptions& options) {
  return ckptfs::cli::RunVerify(options);
}

ExitCode Run(const ckptfs::cli::PrintAndExit& text) {
  std::fputs(text.out.c_str(), stdout);
  std::fputs(text.err.c_str(), stderr);
  return text.code;
}

// A caller may have closed them; what is opened next would take their numbers
// and be written to as if it were the terminal.
void EnsureStandardStreams() {
  int fd = 0;
  do {
    fd = ::open("/dev/null", O_RDWR);
  } while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd >= 0) ::close(fd);
}

}  // namespace

int main(int argc, char** argv) {
  EnsureStandardStreams();
  try {
    ckptfs::cli::Command command = ckptfs::cli::ParseCommandLine(argc, argv);
    const ExitCode code = std::visit(
        [](auto& chosen) { return Run(std::move(chosen)); }, command);
    return static_cast<int>(code);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "ckptfs: unexpected failure: %s\n", e.what());
    return static_cast<int>(ExitCode::kOther);
  }
}
