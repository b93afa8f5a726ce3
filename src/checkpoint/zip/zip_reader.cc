#include "checkpoint/zip/zip_reader.h"

#include <algorithm>
#include <span>
#include <utility>

namespace ckptfs {

namespace {

std::span<const std::byte> BytesOf(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace

Task<Result<std::unique_ptr<ZipReader>>> ZipReader::Open(
    OpenedFile file, std::stop_token stop, std::uint64_t tail_bytes) {
  std::unique_ptr<ZipReader> reader(new ZipReader(std::move(file)));
  Result<void> found =
      co_await reader->FindRecords(std::move(stop), tail_bytes);
  if (!found) co_return Fail(found.error().WithContext(reader->name()));
  co_return std::move(reader);
}

Task<Result<void>> ZipReader::FindRecords(std::stop_token stop,
                                          std::uint64_t tail_bytes) {
  Result<std::string_view> end = co_await file_.FetchTail(tail_bytes, stop);
  CKPTFS_CO_RETURN_IF_ERROR(end);
  const std::string_view last = end->substr(
      end->size() - std::min<std::uint64_t>(end->size(), kMaxZipTail));
  const Result<ZipTail> tail = ParseZipTail(BytesOf(last), file_.size());
  CKPTFS_CO_RETURN_IF_ERROR(tail);
  directory_offset_ = tail->directory_offset;
  Result<std::string> directory =
      co_await file_.Bytes(tail->directory_offset, tail->directory_bytes, stop);
  CKPTFS_CO_RETURN_IF_ERROR(directory);
  Result<std::vector<ZipEntry>> entries =
      ParseZipDirectory(BytesOf(*directory), *tail);
  CKPTFS_CO_RETURN_IF_ERROR(entries);
  entries_ = *std::move(entries);
  std::sort(entries_.begin(), entries_.end(),
            [](const ZipEntry& a, const ZipEntry& b) {
              return a.header_offset < b.header_offset;
            });
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    by_name_[entries_[i].name] = i;
  }
  co_return Result<void>();
}

const ZipEntry* ZipReader::Find(std::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : &entries_[found->second];
}

std::uint64_t ZipReader::RoomEnd(const ZipEntry& entry) const {
  const auto next = std::upper_bound(
      entries_.begin(), entries_.end(), entry.header_offset,
      [](std::uint64_t at, const ZipEntry& e) { return at < e.header_offset; });
  return next == entries_.end() ? directory_offset_ : next->header_offset;
}

std::uint64_t ZipReader::HeaderBytes(const ZipEntry& entry) const {
  const std::uint64_t wanted = kLocalHeaderBytes + entry.name.size();
  return std::min(wanted, RoomEnd(entry) - entry.header_offset);
}

Task<Result<std::uint64_t>> ZipReader::PayloadOffset(ZipEntry entry,
                                                     std::stop_token stop) {
  Result<std::string> header = co_await file_.Bytes(
      entry.header_offset, HeaderBytes(entry), std::move(stop));
  CKPTFS_CO_RETURN_IF_ERROR(header);
  co_return ZipPayloadOffset(entry, BytesOf(*header), RoomEnd(entry));
}

std::optional<Result<std::string_view>> ZipReader::ReadHeld(
    const ZipEntry& entry) const {
  const std::optional<std::string_view> header =
      file_.Held(entry.header_offset, HeaderBytes(entry));
  if (entry.deflated || !header) return std::nullopt;
  const Result<std::uint64_t> offset =
      ZipPayloadOffset(entry, BytesOf(*header), RoomEnd(entry));
  if (!offset) return Fail(offset.error());
  const std::optional<std::string_view> payload =
      file_.Held(*offset, entry.stored_bytes);
  if (!payload) return std::nullopt;
  return *payload;
}

Task<Result<std::string>> ZipReader::ReadWhole(ZipEntry entry,
                                               std::stop_token stop) {
  Result<std::uint64_t> offset = co_await PayloadOffset(entry, stop);
  CKPTFS_CO_RETURN_IF_ERROR(offset);
  Result<std::string> stored =
      co_await file_.Bytes(*offset, entry.stored_bytes, stop);
  if (!stored || !entry.deflated) co_return stored;
  co_return InflateZipRecord(entry, BytesOf(*stored));
}

}  // namespace ckptfs
