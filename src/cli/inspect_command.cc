#include "cli/inspect_command.h"

#include <ckptfs/engine.h>

#include <cstdio>
#include <string>
#include <utility>

#include "checkpoint/engine/engine_runtime.h"
#include "checkpoint/inspect/inspect_file.h"
#include "checkpoint/inspect/verify_file.h"
#include "cli/printable.h"
#include "cli/summary_text.h"
#include "common/log.h"

namespace ckptfs::cli {

namespace {

EngineOptions EngineOptionsOf(const StoreArguments& store) {
  EngineOptions options;
  options.s3.endpoint_url = store.endpoint_url;
  options.s3.region = store.region;
  options.s3.ca_file = store.ca_file;
  if (store.force_path_style) options.s3.force_path_style = true;
  return options;
}

ExitCode Failed(const Error& error) {
  std::fprintf(stderr, "ckptfs: %s\n", Printable(error.ToString()).c_str());
  return ExitCodeForFileError(error);
}

// False: stdout is closed or full.
bool Print(const std::string& text) {
  const bool written =
      std::fwrite(text.data(), 1, text.size(), stdout) == text.size() &&
      std::fflush(stdout) == 0;
  if (!written) std::fputs("ckptfs: the output cannot be written\n", stderr);
  return written;
}

}  // namespace

ExitCode RunInspect(const InspectOptions& options) {
  const Result<void> logging = InitLogging(LogLevel::kWarning, "");
  if (!logging) return Failed(logging.error());
  Engine engine(EngineOptionsOf(options));
  internal::EngineRuntime& runtime = engine.runtime();
  const Result<FileSummary> summary =
      runtime.Start<FileSummary>(InspectFile(runtime, options.path, {})).Get();
  if (!summary) return Failed(summary.error());
  if (!Print(options.json ? SummaryJson(*summary) : SummaryText(*summary))) {
    return ExitCode::kOther;
  }
  return summary->unsafe_globals.empty() ? ExitCode::kSuccess
                                         : ExitCode::kUnsafe;
}

ExitCode RunVerify(const VerifyOptions& options) {
  const Result<void> logging = InitLogging(LogLevel::kWarning, "");
  if (!logging) return Failed(logging.error());
  Engine engine(EngineOptionsOf(options));
  internal::EngineRuntime& runtime = engine.runtime();
  const Result<VerifyReport> report =
      runtime.Start<VerifyReport>(VerifyFile(runtime, options.path, {})).Get();
  if (!report) return Failed(report.error());
  if (!Print(VerifyText(*report))) return ExitCode::kOther;
  return report->damage_count == 0 ? ExitCode::kSuccess : ExitCode::kDamaged;
}

}  // namespace ckptfs::cli
