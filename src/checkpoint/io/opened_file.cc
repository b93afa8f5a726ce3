#include "checkpoint/io/opened_file.h"

#include <algorithm>
#include <span>
#include <utility>

#include "checkpoint/io/string_destination.h"

namespace ckptfs {

namespace {}  // namespace

Task<Result<OpenedFile>> OpenedFile::Open(std::unique_ptr<ByteSource> source,
                                          std::stop_token stop,
                                          std::uint64_t head_bytes) {
  auto head = std::make_shared<std::string>(head_bytes, '\0');
  Destination into = IntoString(head);
  Result<std::uint64_t> size =
      co_await source->Open(std::move(into), std::move(stop));
  CKPTFS_CO_RETURN_IF_ERROR(size);
  head->resize(std::min(head_bytes, *size));
  co_return OpenedFile(std::move(source), *size, std::move(*head));
}

Task<Result<std::string>> OpenedFile::Bytes(std::uint64_t offset,
                                            std::uint64_t bytes,
                                            std::stop_token stop) {
  if (offset + bytes <= head_.size()) co_return head_.substr(offset, bytes);
  auto buffer = std::make_shared<std::string>(bytes, '\0');
  Destination into = IntoString(buffer);
  Result<void> read =
      co_await source_->Read(offset, std::move(into), std::move(stop));
  CKPTFS_CO_RETURN_IF_ERROR(read);
  co_return std::move(*buffer);
}

}  // namespace ckptfs
