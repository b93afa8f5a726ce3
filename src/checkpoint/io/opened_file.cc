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

// Likewise to their end.
void CopyToBack(std::string_view bytes, Destination& destination) {
  std::vector<std::span<std::byte>>& segments = destination.segments;
  while (!bytes.empty()) {
    std::span<std::byte>& segment = segments.back();
    const std::size_t n = std::min(bytes.size(), segment.size());
    std::memcpy(segment.data() + segment.size() - n,
                bytes.data() + bytes.size() - n, n);
    bytes.remove_suffix(n);
    segment = segment.first(segment.size() - n);
    if (segment.empty()) segments.pop_back();
  }
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

Task<Result<std::string_view>> OpenedFile::FetchTail(std::uint64_t bytes,
                                                     std::stop_token stop) {
  bytes = std::min(bytes, size_);
  if (size_ == head_.size()) co_return head().substr(size_ - bytes);
  Result<std::string> tail =
      co_await Bytes(size_ - bytes, bytes, std::move(stop));
  CKPTFS_CO_RETURN_IF_ERROR(tail);
  tail_ = *std::move(tail);
  co_return std::string_view(tail_);
}

std::optional<std::string_view> OpenedFile::Held(std::uint64_t offset,
                                                 std::uint64_t bytes) const {
  const auto within =
      [&](std::string_view held,
          std::uint64_t begin) -> std::optional<std::string_view> {
    if (offset < begin || offset - begin > held.size() ||
        bytes > held.size() - (offset - begin)) {
      return std::nullopt;
    }
    return held.substr(offset - begin, bytes);
  };
  const std::optional<std::string_view> first = within(head_, 0);
  return first ? first : within(tail_, size_ - tail_.size());
}

Task<Result<void>> OpenedFile::Read(std::uint64_t offset,
                                    Destination destination,
                                    std::stop_token stop) {
  if (offset < head_.size()) {
    const std::string_view have = head().substr(offset, destination.size());
    CopyToFront(have, destination);
    offset += have.size();
  }
  const std::uint64_t tail_begin = size_ - tail_.size();
  const std::uint64_t end = offset + destination.size();
  // What reaches beyond the file is for the source to refuse.
  if (end > tail_begin && end <= size_) {
    const std::uint64_t begin = std::max(offset, tail_begin);
    CopyToBack(std::string_view(tail_).substr(begin - tail_begin, end - begin),
               destination);
  }
  if (destination.size() == 0) co_return Result<void>();
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
