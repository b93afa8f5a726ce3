// ZipDirectory: what is where in a zip, from its tail. Reads what torch.save
// has written since 1.6 (stored or deflated records, zip64, with and without
// alignment), and any other plain zip. Source of the format: PKWARE APPNOTE
// 6.3.10, sections 4.3 and 4.5.3.
#pragma once

#include <ckptfs/result.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ckptfs {

struct ZipEntry {
  std::string name;
  bool deflated = false;  // else stored
  std::uint32_t crc32 = 0;
  std::uint64_t stored_bytes = 0;   // in the file
  std::uint64_t bytes = 0;          // after decompression
  std::uint64_t header_offset = 0;  // of the local header
};

// Where the directory is, as the end records say.
struct ZipTail {
  std::uint64_t directory_offset = 0;
  std::uint64_t directory_bytes = 0;
  std::uint64_t entries = 0;
};

// The longest tail that may be needed: end record, comment, zip64 records.
inline constexpr std::uint64_t kMaxZipTail = 22 + 65535 + 20 + 56;
// The fixed part of a local header; name and extra field follow.
inline constexpr std::uint64_t kLocalHeaderBytes = 30;

// `tail`: the last bytes of a file of `file_size`, kMaxZipTail of them or all.
// kInvalidArgument: not a zip, cut short, several disks, encrypted, a directory
// that lies outside the file or over the end records.
Result<ZipTail> ParseZipTail(std::span<const std::byte> tail,
                             std::uint64_t file_size);

// `directory`: the bytes that `tail` names. In the order of the directory.
// kInvalidArgument, with the entry's name or number: truncated or inconsistent
// entries, a count that differs, a method other than stored and deflated,
// encryption, records that overlap each other or the directory, duplicate
// names, empty or absolute names, `..` components, backslashes, NUL; a local
// header or record outside the file. Memory is linear in directory.size().
Result<std::vector<ZipEntry>> ParseZipDirectory(
    std::span<const std::byte> directory, const ZipTail& tail);

// Where the payload of `entry` begins, from its local header: `header` holds
// the bytes at entry.header_offset, at least kLocalHeaderBytes.
// kInvalidArgument: not a local header, a method or flags that differ from the
// directory's, a payload that would run into `limit` (the next record or the
// directory). The header's name is compared where `header` holds all of it.
Result<std::uint64_t> ZipPayloadOffset(const ZipEntry& entry,
                                       std::span<const std::byte> header,
                                       std::uint64_t limit);

// Inflates a whole deflated record. kInvalidArgument: damaged, or not exactly
// entry.bytes long. Allocates no more than entry.bytes, in steps as the data
// turn out to hold them (a record that lies about its size costs little).
Result<std::string> InflateZipRecord(const ZipEntry& entry,
                                     std::span<const std::byte> stored);

// kDataLoss, with record and offset: the bytes of a record, decompressed, have
// another checksum than the directory says.
Result<void> CheckZipCrc(const ZipEntry& entry,
                         std::span<const std::byte> bytes);

}  // namespace ckptfs
