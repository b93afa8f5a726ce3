#include "checkpoint/io/opened_file.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "checkpoint/io/string_destination.h"

namespace ckptfs {

namespace {

// Copies `bytes` to the begin of the segments, and leaves the rest of them.
void CopyToFront(std::string_view bytes, Destination& destination) {
  std::vector<std::span<std::byte>> rest;
  for (const std::span<std::byte> segment : destination.segments) {
    const std::size_t n = std::min(bytes.size(), segment.size());
    std::memcpy(segment.data(), bytes.data(), n);
    bytes.remove_prefix(n);
    if (n < segment.size()) rest.push_back(segment.subspan(n));
  }
  destination.segments = std::move(rest);
}

}  // namespace

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

Task<Result<void>> OpenedFile::Read(std::uint64_t offset,
                                    Destination destination,
                                    std::stop_token stop) {
  if (offset < head_.size()) {
    const std::string_view have = head().substr(offset, destination.size());
    CopyToFront(have, destination);
    offset += have.size();
  }
  if (destination.segments.empty()) co_return Result<void>();
  Result<void> read =
      co_await source_->Read(offset, std::move(destination), std::move(stop));
  co_return read;
}

Task<Result<std::string>> OpenedFile::Bytes(std::uint64_t offset,
                                            std::uint64_t bytes,
                                            std::stop_token stop) {
  auto buffer = std::make_shared<std::string>(bytes, '\0');
  Destination into = IntoString(buffer);
  Result<void> read = co_await Read(offset, std::move(into), std::move(stop));
  CKPTFS_CO_RETURN_IF_ERROR(read);
  co_return std::move(*buffer);
}

}  // namespace ckptfs
