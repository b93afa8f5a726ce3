#include "checkpoint/inspect/inspect_file.h"

#include <string_view>
#include <utility>

#include "checkpoint/inspect/checkpoint_file.h"
#include "checkpoint/inspect/inspect_dcp.h"
#include "checkpoint/inspect/inspect_torch_file.h"
#include "checkpoint/safetensors/open_safetensors.h"

namespace ckptfs {

namespace {

Task<Result<FileSummary>> InspectSafetensors(internal::EngineRuntime& runtime,
                                             OpenedFile file,
                                             std::stop_token stop) {
  Result<SafetensorsHeader> header =
      co_await OpenSafetensors(file, runtime.pool(), std::move(stop));
  CKPTFS_CO_RETURN_IF_ERROR(header);
  FileSummary summary;
  summary.kind = FileSummary::Kind::kSafetensors;
  summary.name = file.name();
  summary.file_bytes = file.size();
  summary.format.emplace_back("header bytes",
                              std::to_string(header->data_offset));
  for (const auto& [key, value] : header->metadata) {
    summary.others.emplace_back(key, value);
  }
  for (SafetensorsEntry& entry : header->tensors) {
    const std::uint64_t bytes = entry.end - entry.begin;
    summary.stored_bytes += bytes;
    summary.tensors.push_back(
        {std::move(entry.name), entry.dtype, std::move(entry.shape), bytes});
  }
  co_return std::move(summary);
}

}  // namespace

Task<Result<FileSummary>> InspectFile(internal::EngineRuntime& runtime,
                                      std::string path, std::stop_token stop) {
  Result<CheckpointFile> opened =
      co_await OpenCheckpointFile(runtime, std::move(path), stop);
  CKPTFS_CO_RETURN_IF_ERROR(opened);
  CheckpointFile file = *std::move(opened);
  switch (file.kind) {
    case FileSummary::Kind::kTorchSave: {
      Result<FileSummary> summary = co_await InspectTorchFile(
          runtime, std::move(file.file), std::move(stop));
      co_return summary;
    }
    case FileSummary::Kind::kSafetensors: {
      Result<FileSummary> summary = co_await InspectSafetensors(
          runtime, std::move(file.file), std::move(stop));
      co_return summary;
    }
    case FileSummary::Kind::kDcp: break;
  }
  Result<FileSummary> summary =
      co_await InspectDcp(runtime, std::move(file.file), std::move(stop));
  co_return summary;
}

}  // namespace ckptfs
