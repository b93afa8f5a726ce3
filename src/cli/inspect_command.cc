#include "cli/inspect_command.h"

#include <ckptfs/engine.h>

#include <cstddef>
#include <cstdio>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "checkpoint/engine/engine_runtime.h"
#include "checkpoint/engine/location.h"
#include "checkpoint/inspect/inspect_file.h"
#include "checkpoint/inspect/verify_file.h"
#include "cli/printable.h"
#include "cli/store_check.h"
#include "cli/summary_text.h"
#include "common/log.h"

namespace ckptfs::cli {

namespace {

EngineOptions EngineOptionsOf(const StoreArguments& store) {
  EngineOptions options;
  options.s3.endpoint_url = store.endpoint_url;
  options.s3.region = store.region;
  options.s3.profile = store.profile;
  options.s3.ca_file = store.ca_file;
  if (store.force_path_style) options.s3.force_path_style = true;
  return options;
}

ExitCode Failed(const Error& error, ExitCode code) {
  std::fprintf(stderr, "ckptfs: %s\n", Printable(error.ToString()).c_str());
  return code;
}

// Whether the bucket of an s3:// path answers: what an endpoint that is not
// there takes is bounded so, and what is wrong with it is not taken for a
// damaged file. An object that is not there may be a folder.
Result<void> CheckReached(internal::EngineRuntime& runtime,
                          const std::string& path) {
  CKPTFS_ASSIGN_OR_RETURN(const Location location, ParseLocation(path));
  if (location.kind != Location::Kind::kObject) return {};
  CKPTFS_ASSIGN_OR_RETURN(ObjectStore * store,
                          runtime.StoreOf(location.bucket, ""));
  if (location.key.empty()) return CheckStore(*store, "");
  const auto byte = std::make_shared<std::byte>();
  GetRequest request;
  request.key = location.key;
  request.destination.segments = {std::span(byte.get(), 1)};
  request.destination.owner = byte;
  request.options.deadline = kStoreCheckDeadline;
  const Result<GetResult> got = store->Get(std::move(request)).Get();
  if (got || (got.error().code() == ErrorCode::kNotFound &&
              got.error().s3_code() != "NoSuchBucket")) {
    return {};
  }
  return Fail(got.error().WithContext(path));
}

// False: stdout is closed or full.
bool Print(const std::string& text) {
  const bool written =
      std::fwrite(text.data(), 1, text.size(), stdout) == text.size() &&
      std::fflush(stdout) == 0;
  if (!written) std::fputs("ckptfs: the output cannot be written\n", stderr);
  return written;
}

// What `look` (InspectFile, VerifyFile) finds; what is wrong is printed, and
// the error is the exit code.
template <typename Report>
tl::expected<Report, ExitCode> Look(
    const StoreArguments& store, const std::string& path,
    Task<Result<Report>> (*look)(internal::EngineRuntime&, std::string,
                                 std::stop_token)) {
  const Result<void> logging = InitLogging(LogLevel::kWarning, "");
  if (!logging) {
    return tl::unexpected(Failed(logging.error(), ExitCode::kOther));
  }
  Engine engine(EngineOptionsOf(store));
  internal::EngineRuntime& runtime = engine.runtime();
  const Result<void> reached = CheckReached(runtime, path);
  if (!reached) {
    return tl::unexpected(
        Failed(reached.error(), ExitCodeForStoreError(reached.error())));
  }
  Result<Report> report =
      runtime.Start<Report>(look(runtime, path, std::stop_token())).Get();
  if (!report) {
    return tl::unexpected(
        Failed(report.error(), ExitCodeForFileError(report.error())));
  }
  return *std::move(report);
}

}  // namespace

ExitCode RunInspect(const InspectOptions& options) {
  const auto summary = Look(options, options.path, &InspectFile);
  if (!summary) return summary.error();
  if (!Print(options.json ? SummaryJson(*summary) : SummaryText(*summary))) {
    return ExitCode::kOther;
  }
  return summary->unsafe_globals.empty() ? ExitCode::kSuccess
                                         : ExitCode::kUnsafe;
}

ExitCode RunVerify(const VerifyOptions& options) {
  const auto report = Look(options, options.path, &VerifyFile);
  if (!report) return report.error();
  if (!Print(VerifyText(*report))) return ExitCode::kOther;
  return report->damage_count == 0 ? ExitCode::kSuccess : ExitCode::kDamaged;
}

}  // namespace ckptfs::cli
