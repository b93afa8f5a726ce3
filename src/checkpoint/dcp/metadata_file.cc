#include "checkpoint/dcp/metadata_file.h"

#include <cstdint>
#include <span>
#include <utility>

#include "checkpoint/io/run_on.h"

namespace ckptfs {

namespace {

constexpr std::uint64_t kMaxMetadataBytes = 1ull << 30;

}  // namespace

Task<Result<std::string>> DcpMetadataBytes(OpenedFile& file,
                                           std::stop_token stop) {
  if (file.size() > kMaxMetadataBytes) {
    co_return Fail(ErrorCode::kTooLarge, file.name() + " has " +
                                             std::to_string(file.size()) +
                                             " bytes, more than the limit of " +
                                             std::to_string(kMaxMetadataBytes));
  }
  Result<std::string> bytes =
      co_await file.Bytes(0, file.size(), std::move(stop));
  co_return bytes;
}

Task<Result<DcpMetadata>> ReadDcpMetadata(internal::EngineRuntime& runtime,
                                          OpenedFile file,
                                          std::stop_token stop) {
  Result<std::string> bytes = co_await DcpMetadataBytes(file, std::move(stop));
  CKPTFS_CO_RETURN_IF_ERROR(bytes);
  Future<DcpMetadata> parsing =
      RunOn<DcpMetadata>(runtime.pool(), [bytes = *std::move(bytes)] {
        return ParseDcpMetadata(std::as_bytes(std::span(bytes)));
      });
  Result<DcpMetadata> metadata = co_await std::move(parsing);
  if (!metadata) co_return Fail(metadata.error().WithContext(file.name()));
  co_return metadata;
}

}  // namespace ckptfs
