#include "checkpoint/inspect/verify_file.h"

#include <utility>

#include "checkpoint/inspect/checkpoint_file.h"
#include "checkpoint/inspect/verify_dcp.h"
#include "checkpoint/inspect/verify_zip.h"
#include "checkpoint/safetensors/open_safetensors.h"

namespace ckptfs {

namespace {

// Of 8 MiB each: the memory that a file needs.
constexpr std::size_t kBlocksAhead = 8;

Task<Result<VerifyReport>> VerifyTorchFile(internal::EngineRuntime& runtime,
                                           OpenedFile file,
                                           std::stop_token stop) {
  VerifyReport report;
  report.name = file.name();
  report.file_bytes = file.size();
  report.kind = FileSummary::Kind::kTorchSave;
  report.checksums = true;
  Result<ZipCheck> check = co_await VerifyZip(runtime, std::move(file),
                                              kBlocksAhead, std::move(stop));
  CKPTFS_CO_RETURN_IF_ERROR(check);
  report.parts = check->records;
  report.damages = std::move(check->damages);
  report.damage_count = check->damage_count;
  co_return std::move(report);
}

Task<Result<VerifyReport>> VerifySafetensors(internal::EngineRuntime& runtime,
                                             OpenedFile file,
                                             std::stop_token stop) {
  Result<SafetensorsHeader> header =
      co_await OpenSafetensors(file, runtime.pool(), std::move(stop));
  CKPTFS_CO_RETURN_IF_ERROR(header);
  VerifyReport report;
  report.name = file.name();
  report.kind = FileSummary::Kind::kSafetensors;
  report.file_bytes = file.size();
  report.parts = header->tensors.size();
  co_return std::move(report);
}

}  // namespace

Task<Result<VerifyReport>> VerifyFile(internal::EngineRuntime& runtime,
                                      std::string path, std::stop_token stop) {
  Result<CheckpointFile> opened =
      co_await OpenCheckpointFile(runtime, std::move(path), stop);
  CKPTFS_CO_RETURN_IF_ERROR(opened);
  CheckpointFile file = *std::move(opened);
  Task<Result<VerifyReport>> verifying =
      file.kind == FileSummary::Kind::kTorchSave
          ? VerifyTorchFile(runtime, std::move(file.file), std::move(stop))
      : file.kind == FileSummary::Kind::kSafetensors
          ? VerifySafetensors(runtime, std::move(file.file), std::move(stop))
          : VerifyDcp(runtime, std::move(file.file), std::move(stop));
  Result<VerifyReport> report = co_await std::move(verifying);
  co_return report;
}

}  // namespace ckptfs
