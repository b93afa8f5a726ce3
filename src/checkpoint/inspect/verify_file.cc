#include "checkpoint/inspect/verify_file.h"

#include <algorithm>
#include <deque>
#include <memory>
#include <span>
#include <utility>

#include "checkpoint/inspect/checkpoint_file.h"
#include "checkpoint/io/run_on.h"
#include "checkpoint/safetensors/open_safetensors.h"
#include "checkpoint/torch_file/torch_file_reader.h"
#include "checkpoint/zip/zip_reader.h"

namespace ckptfs {

namespace {

// One range on the wire each; all of them are the memory that is needed.
constexpr std::uint64_t kBlockBytes = 8ull << 20;
constexpr std::size_t kBlocksAhead = 8;

struct Block {
  std::shared_ptr<std::string> bytes;
  Future<void> reading;
};

Future<void> StartRead(OpenedFile& file, Executor& executor,
                       std::uint64_t offset, std::shared_ptr<std::string> bytes,
                       std::stop_token stop) {
  Destination into;
  into.segments = {std::as_writable_bytes(std::span(*bytes))};
  into.owner = std::move(bytes);
  Promise<void> promise;
  Future<void> future = promise.GetFuture();
  Spawn<Result<void>>(
      executor, file.Read(offset, std::move(into), std::move(stop)),
      [promise = std::move(promise)](Result<void> read) mutable {
        promise.Set(std::move(read));
      });
  return future;
}

// Hands [0, size) to the verifier, in order, on the pool.
Task<Result<void>> Stream(internal::EngineRuntime& runtime, OpenedFile& file,
                          std::uint64_t size,
                          std::shared_ptr<ZipVerifier> verifier,
                          std::stop_token stop) {
  std::deque<Block> ahead;
  std::vector<std::shared_ptr<std::string>> spare;
  std::uint64_t asked = 0;
  Result<void> result;
  while (result && (asked < size || !ahead.empty())) {
    while (asked < size && ahead.size() < kBlocksAhead) {
      std::shared_ptr<std::string> bytes;
      if (spare.empty()) {
        bytes = std::make_shared<std::string>();
      } else {
        bytes = std::move(spare.back());
        spare.pop_back();
      }
      bytes->resize(std::min(kBlockBytes, size - asked));
      Future<void> reading =
          StartRead(file, runtime.strand(), asked, bytes, stop);
      asked += bytes->size();
      ahead.push_back({std::move(bytes), std::move(reading)});
    }
    Block block = std::move(ahead.front());
    ahead.pop_front();
    result = co_await std::move(block.reading);
    if (!result) break;
    Future<void> feeding = RunOn<void>(
        runtime.pool(), [verifier, bytes = block.bytes]() -> Result<void> {
          verifier->Feed(std::as_bytes(std::span(*bytes)));
          return {};
        });
    result = co_await std::move(feeding);
    spare.push_back(std::move(block.bytes));
  }
  // The file must outlive what was asked of it.
  while (!ahead.empty()) {
    Future<void> reading = std::move(ahead.front().reading);
    ahead.pop_front();
    Result<void> read = co_await std::move(reading);
    if (!read && result) result = std::move(read);
  }
  co_return result;
}

Task<Result<VerifyReport>> VerifyTorchFile(internal::EngineRuntime& runtime,
                                           OpenedFile file,
                                           std::stop_token stop) {
  const Result<void> readable = TorchFileReader::RefuseLegacy(file);
  CKPTFS_CO_RETURN_IF_ERROR(readable);
  VerifyReport report;
  report.name = file.name();
  report.file_bytes = file.size();
  report.kind = FileSummary::Kind::kTorchSave;
  report.checksums = true;
  Result<std::unique_ptr<ZipReader>> opened =
      co_await ZipReader::Open(std::move(file), stop);
  CKPTFS_CO_RETURN_IF_ERROR(opened);
  ZipReader& zip = **opened;
  report.parts = zip.entries().size();
  const auto verifier =
      std::make_shared<ZipVerifier>(zip.entries(), zip.directory_offset());
  Result<void> streamed = co_await Stream(
      runtime, zip.file(), zip.directory_offset(), verifier, std::move(stop));
  CKPTFS_CO_RETURN_IF_ERROR(streamed);
  report.damages = verifier->damages();
  report.damage_count = verifier->damage_count();
  const std::string pickle = TorchFileReader::ArchiveOf(zip) + "data.pkl";
  if (zip.Find(pickle) == nullptr) {
    ++report.damage_count;
    report.damages.push_back(
        {pickle, 0, "there is no such record: not a file of torch.save"});
  }
  co_return std::move(report);
}

}  // namespace

Task<Result<VerifyReport>> VerifyFile(internal::EngineRuntime& runtime,
                                      std::string path, std::stop_token stop) {
  Result<CheckpointFile> opened =
      co_await OpenCheckpointFile(runtime, std::move(path), stop);
  CKPTFS_CO_RETURN_IF_ERROR(opened);
  CheckpointFile file = *std::move(opened);
  switch (file.kind) {
    case FileSummary::Kind::kTorchSave: {
      Result<VerifyReport> report = co_await VerifyTorchFile(
          runtime, std::move(file.file), std::move(stop));
      co_return report;
    }
    case FileSummary::Kind::kSafetensors: {
      Result<SafetensorsHeader> header =
          co_await OpenSafetensors(file.file, runtime.pool(), std::move(stop));
      CKPTFS_CO_RETURN_IF_ERROR(header);
      VerifyReport report;
      report.name = file.file.name();
      report.kind = FileSummary::Kind::kSafetensors;
      report.file_bytes = file.file.size();
      report.parts = header->tensors.size();
      co_return std::move(report);
    }
    case FileSummary::Kind::kDcp: break;
  }
  co_return Fail(
      ErrorCode::kUnsupported,
      file.file.name() + ": a DCP folder is not verified by this version");
}

}  // namespace ckptfs
