#include "checkpoint/inspect/verify_zip.h"

#include <algorithm>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "checkpoint/io/run_on.h"
#include "checkpoint/torch_file/torch_file_reader.h"
#include "checkpoint/zip/zip_reader.h"

namespace ckptfs {

namespace {

// One range on the wire each.
constexpr std::uint64_t kBlockBytes = 8ull << 20;

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
                          std::size_t blocks_ahead, std::stop_token stop) {
  std::deque<Block> ahead;
  std::vector<std::shared_ptr<std::string>> spare;
  std::uint64_t asked = 0;
  Result<void> result;
  while (result && (asked < size || !ahead.empty())) {
    while (asked < size && ahead.size() < blocks_ahead) {
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

}  // namespace

Task<Result<ZipCheck>> VerifyZip(internal::EngineRuntime& runtime,
                                 OpenedFile file, std::size_t blocks_ahead,
                                 std::stop_token stop) {
  const Result<void> readable = TorchFileReader::RefuseLegacy(file);
  CKPTFS_CO_RETURN_IF_ERROR(readable);
  Result<std::unique_ptr<ZipReader>> opened =
      co_await ZipReader::Open(std::move(file), stop);
  CKPTFS_CO_RETURN_IF_ERROR(opened);
  ZipReader& zip = **opened;
  ZipCheck check;
  check.records = zip.entries().size();
  const auto verifier =
      std::make_shared<ZipVerifier>(zip.entries(), zip.directory_offset());
  Result<void> streamed =
      co_await Stream(runtime, zip.file(), zip.directory_offset(), verifier,
                      blocks_ahead, std::move(stop));
  CKPTFS_CO_RETURN_IF_ERROR(streamed);
  check.damages = verifier->damages();
  check.damage_count = verifier->damage_count();
  const std::string pickle = TorchFileReader::ArchiveOf(zip) + "data.pkl";
  if (zip.Find(pickle) == nullptr) {
    ++check.damage_count;
    check.damages.push_back(
        {pickle, 0, "there is no such record: not a file of torch.save"});
  }
  co_return std::move(check);
}

}  // namespace ckptfs
