#include "cli/mount_command.h"

#include <signal.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "cli/background.h"
#include "cli/log_file.h"
#include "cli/mount_daemon.h"
#include "common/log.h"
#include "fuse/mount_device.h"

namespace ckptfs::cli {

namespace {

// A daemon's working directory is "/".
void MakeAbsolute(std::string& path) {
  if (path.empty()) return;
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::absolute(path, error);
  if (!error) path = absolute.native();
}

[[noreturn]] void EndProcess(ExitCode code) {
  std::fflush(nullptr);
  std::_Exit(static_cast<int>(code));
}

[[noreturn]] void Serve(const MountOptions& options, StartReport report) {
  const Result<void> logging = InitLogging(options.log_level, options.log_file);
  if (!logging.has_value()) {
    EndProcess(report.Failed(ExitCode::kUsage, logging.error().message()));
  }
  // Every thread inherits the mask, so that these reach the daemon's signalfd
  // alone.
  sigset_t stop_signals = StopSignals();
  const int blocked = ::pthread_sigmask(SIG_BLOCK, &stop_signals, nullptr);
  if (blocked != 0 || ::signal(SIGPIPE, SIG_IGN) == SIG_ERR ||
      // Ignored in what some shells start; then no child's end is told.
      ::signal(SIGCHLD, SIG_DFL) == SIG_ERR) {
    EndProcess(report.Failed(ExitCode::kOther, "cannot set up signals"));
  }

  tl::expected<MountDaemon*, StartFailure> daemon = MountDaemon::Start(options);
  if (!daemon.has_value()) {
    // In the foreground without a log file the report says it already.
    if (!options.log_file.empty()) LogError(daemon.error().line);
    EndProcess(report.Failed(daemon.error().code, daemon.error().line));
  }
  EndProcess((*daemon)->Serve(report.Succeeded()));
}

}  // namespace

ExitCode RunMount(MountOptions options) {
  StartReport terminal;
  Result<std::string> mount_point = fuse::CheckMountPoint(options.mount_point);
  if (!mount_point.has_value()) {
    return terminal.Failed(ExitCode::kMountPoint,
                           mount_point.error().message());
  }
  options.mount_point = *std::move(mount_point);
  MakeAbsolute(options.ca_file);
  MakeAbsolute(options.log_file);
  if (options.foreground) Serve(options, StartReport());

  if (options.log_file.empty()) {
    Result<std::string> log_file = DefaultLogFile(options.mount_point);
    if (!log_file.has_value()) {
      return terminal.Failed(ExitCode::kUsage, log_file.error().message());
    }
    options.log_file = *std::move(log_file);
  }
  Result<ForkResult> forked = ForkToBackground(options.log_file);
  if (!forked.has_value()) {
    return terminal.Failed(ExitCode::kOther, forked.error().message());
  }
  if (forked->is_parent) return forked->code;
  Serve(options, std::move(forked->report));
}

}  // namespace ckptfs::cli
