#include "checkpoint/io/opened_file.h"

#include <algorithm>
#include <span>
#include <utility>

namespace ckptfs {

namespace {

// Holds the headers of most files; costs little more than the round trip.
constexpr std::uint64_t kHeadBytes = 1ull << 20;

Destination Into(const std::shared_ptr<std::string>& buffer) {
  Destination destination;
  destination.segments = {std::as_writable_bytes(std::span(*buffer))};
  destination.owner = buffer;
  return destination;
}

}  // namespace

Task<Result<OpenedFile>> OpenedFile::Open(std::unique_ptr<ByteSource> source,
                                          std::stop_token stop) {
  auto head = std::make_shared<std::string>(kHeadBytes, '\0');
  Destination into = Into(head);
  Result<std::uint64_t> size =
      co_await source->Open(std::move(into), std::move(stop));
  CKPTFS_CO_RETURN_IF_ERROR(size);
  head->resize(std::min(kHeadBytes, *size));
  co_return OpenedFile(std::move(source), *size, std::move(*head));
}

Task<Result<std::string>> OpenedFile::Bytes(std::uint64_t offset,
                                            std::uint64_t bytes,
                                            std::stop_token stop) {
  if (offset + bytes <= head_.size()) co_return head_.substr(offset, bytes);
  auto buffer = std::make_shared<std::string>(bytes, '\0');
  Destination into = Into(buffer);
  Result<void> read =
      co_await source_->Read(offset, std::move(into), std::move(stop));
  CKPTFS_CO_RETURN_IF_ERROR(read);
  co_return std::move(*buffer);
}

}  // namespace ckptfs
