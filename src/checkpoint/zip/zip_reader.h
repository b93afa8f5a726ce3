// ZipReader: a zip file where it is: its directory, and single records.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/io/opened_file.h"
#include "checkpoint/zip/zip_directory.h"

namespace ckptfs {

// On the executor of the file. Not thread-safe.
class ZipReader {
 public:
  static constexpr std::uint64_t kTailBytes = 256ull << 10;

  // Finds the records: one request for a file beyond its head whose directory
  // lies within the last `tail_bytes`, none for a smaller file.
  // kInvalidArgument: as ParseZipTail and ParseZipDirectory.
  static Task<Result<std::unique_ptr<ZipReader>>> Open(
      OpenedFile file, std::stop_token stop,
      std::uint64_t tail_bytes = kTailBytes);
  ZipReader(const ZipReader&) = delete;
  ZipReader& operator=(const ZipReader&) = delete;

  const std::string& name() const { return file_.name(); }
  std::uint64_t file_bytes() const { return file_.size(); }
  OpenedFile& file() { return file_; }

  const std::vector<ZipEntry>& entries() const {
    return entries_;
  }  // by offset
  // Behind the last record.
  std::uint64_t directory_offset() const { return directory_offset_; }
  // Nullptr: no such record.
  const ZipEntry* Find(std::string_view name) const;
  // Of the room that an entry has in the file: the next record, or the
  // directory.
  std::uint64_t RoomEnd(const ZipEntry& entry) const;

  // Where the payload of a record begins: as ZipPayloadOffset.
  Task<Result<std::uint64_t>> PayloadOffset(ZipEntry entry,
                                            std::stop_token stop);
  // All bytes of a record, decompressed; for what fits into memory.
  Task<Result<std::string>> ReadWhole(ZipEntry entry, std::stop_token stop);
  // Likewise, at once and on any thread; nullopt: it is compressed, or the file
  // does not hold it (OpenedFile::Held). Valid as long as this.
  std::optional<Result<std::string_view>> ReadHeld(const ZipEntry& entry) const;

 private:
  explicit ZipReader(OpenedFile file) : file_(std::move(file)) {}
  Task<Result<void>> FindRecords(std::stop_token stop,
                                 std::uint64_t tail_bytes);
  // Of the local header of an entry: what tells where the payload begins.
  std::uint64_t HeaderBytes(const ZipEntry& entry) const;

  OpenedFile file_;
  std::uint64_t directory_offset_ = 0;
  std::vector<ZipEntry> entries_;
  // Ordered: of a hash, a file could choose the collisions.
  std::map<std::string_view, std::size_t> by_name_;
};

}  // namespace ckptfs
