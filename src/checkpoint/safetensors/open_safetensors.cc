#include "checkpoint/safetensors/open_safetensors.h"

#include <algorithm>
#include <span>
#include <string>
#include <utility>

#include "checkpoint/io/run_on.h"

namespace ckptfs {

Task<Result<SafetensorsHeader>> OpenSafetensors(OpenedFile& file,
                                                Executor& pool,
                                                std::stop_token stop) {
  const std::string_view first =
      file.head().substr(0, std::min<std::size_t>(8, file.head().size()));
  const Result<std::uint64_t> length =
      ParseSafetensorsLength(std::as_bytes(std::span(first)), file.size());
  if (!length) co_return Fail(length.error().WithContext(file.name()));
  Result<std::string> json = co_await file.Bytes(8, *length, std::move(stop));
  CKPTFS_CO_RETURN_IF_ERROR(json);
  Future<SafetensorsHeader> parsing = RunOn<SafetensorsHeader>(
      pool, [json = *std::move(json), size = file.size()] {
        return ParseSafetensorsHeader(std::as_bytes(std::span(json)), size);
      });
  Result<SafetensorsHeader> header = co_await std::move(parsing);
  if (!header) co_return Fail(header.error().WithContext(file.name()));
  co_return header;
}

}  // namespace ckptfs
