// ZipLayout: the bytes of a torch.save zip around its records, exactly as
// torch 2.13 writes them (caffe2/serialize/inline_container.cc over miniz):
// stored records, zero CRC and sizes in the local header, a data descriptor,
// payloads aligned by an "FB" extra field, zip64 end records always. All
// offsets are known before a byte of a record is; the CRCs only when the tail
// is made.
#pragma once

#include <ckptfs/result.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace ckptfs {

class ZipLayout {
 public:
  // `archive`: the first component of every record's name, without the slash.
  // `alignment` of payloads, at least 1.
  explicit ZipLayout(std::string archive, std::uint64_t alignment = 64);

  struct Record {
    std::string name;  // with the archive: "archive/data/0"
    std::uint64_t header_offset = 0;
    // The local header with name and extra field: goes to header_offset.
    std::string header;
    std::uint64_t payload_offset = 0;
    std::uint64_t bytes = 0;
  };

  // Adds a record of `bytes` behind the last one. kInvalidArgument: a name that
  // is empty, longer than 65,535 bytes with the archive, or was added before.
  Result<void> Add(std::string_view name, std::uint64_t bytes);
  const std::vector<Record>& records() const { return records_; }

  // What follows the payload of record `index`: 0, 16 or 24 bytes.
  std::string Descriptor(std::size_t index, std::uint32_t crc32) const;
  // Where the central directory begins: behind the last descriptor.
  std::uint64_t tail_offset() const { return end_; }
  // Directory and end records. `crcs`: of every record, in order.
  std::string Tail(std::span<const std::uint32_t> crcs) const;
  std::uint64_t tail_bytes() const;

 private:
  const std::string archive_;
  const std::uint64_t alignment_;
  std::vector<Record> records_;
  std::unordered_set<std::string> names_;
  std::uint64_t end_ = 0;
};

// The archive name that torch.save takes for a file of this name: without
// folders and the last extension; "archive" where that leaves nothing, and for
// a path that is not ASCII.
std::string ZipArchiveName(std::string_view path);

// The 40 digits of the record `.data/serialization_id`, from the records before
// it in writing order, names without the archive. Equal to torch's as long as
// both are built with libstdc++, whose hash it is; to a reader any digits do.
std::string ZipSerializationId(std::span<const std::string> names,
                               std::span<const std::uint32_t> crcs,
                               std::span<const std::uint64_t> bytes);

}  // namespace ckptfs
