#include "checkpoint/zip/zip_layout.h"

#include <algorithm>
#include <cstdio>
#include <functional>
#include <utility>

#include "checkpoint/zip/zip_fields.h"

namespace ckptfs {

namespace {

constexpr std::size_t kHeaderBytes = 30;
constexpr std::size_t kEntryBytes = 46;
constexpr std::size_t kMaxNameBytes = 0xFFFF;
// UTF-8 names; bit 3: CRC and sizes follow in a descriptor. Empty records have
// none.
constexpr std::uint16_t kUtf8 = 0x0800;
constexpr std::uint16_t kWithDescriptor = 0x0808;

// The low `bytes` bytes of `value`, little-endian; zeros from the ninth on.
void Put(std::string& out, std::uint64_t value, int bytes) {
  for (; bytes > 0; --bytes, value >>= 8) {
    out.push_back(static_cast<char>(value & 0xFF));
  }
}

// What miniz takes 64 bits for: values from 2^32 - 1 on.
bool IsLarge(std::uint64_t value) { return value >= kZip32Max; }

std::uint64_t Clamped(std::uint64_t value) {
  return std::min(value, kZip32Max);
}

// The zip64 extra field of a record; empty where 32 bits do. `stored`: the
// second size, which the local header does not know yet and gives as 0.
std::string Zip64Extra(const ZipLayout::Record& record, std::uint64_t stored) {
  std::string values;
  if (IsLarge(record.bytes)) {
    Put(values, record.bytes, 8);
    Put(values, stored, 8);
  }
  if (IsLarge(record.header_offset)) Put(values, record.header_offset, 8);
  if (values.empty()) return values;
  std::string out;
  Put(out, 1, 2);
  Put(out, values.size(), 2);
  return out + values;
}

std::uint16_t Flags(const ZipLayout::Record& record) {
  return record.bytes > 0 ? kWithDescriptor : kUtf8;
}

std::size_t DescriptorBytes(const ZipLayout::Record& record) {
  if (record.bytes == 0) return 0;
  return IsLarge(record.bytes) || IsLarge(record.header_offset) ? 24 : 16;
}

// at::hash_combine (c10/util/hash.h).
std::uint64_t Combine(std::uint64_t seed, std::uint64_t value) {
  return seed ^ (value + 0x9e3779b9 + (seed << 6) + (seed >> 2));
}

}  // namespace

ZipLayout::ZipLayout(std::string archive, std::uint64_t alignment)
    : archive_(std::move(archive)),
      alignment_(std::max<std::uint64_t>(1, alignment)) {}

Result<void> ZipLayout::Add(std::string_view name, std::uint64_t bytes) {
  Record record;
  record.name = archive_ + "/" + std::string(name);
  if (name.empty() || record.name.size() > kMaxNameBytes) {
    return Fail(ErrorCode::kInvalidArgument,
                "a zip record whose name has " +
                    std::to_string(record.name.size()) + " bytes");
  }
  if (!names_.insert(record.name).second) {
    return Fail(ErrorCode::kInvalidArgument,
                "two zip records named " + record.name);
  }
  record.header_offset = end_;
  record.bytes = bytes;
  const std::string zip64 = Zip64Extra(record, 0);
  // Four bytes of the padding's own header, and then as many as are missing.
  const std::uint64_t before =
      end_ + kHeaderBytes + record.name.size() + zip64.size() + 4;
  const std::uint64_t padding = (alignment_ - before % alignment_) % alignment_;
  record.payload_offset = before + padding;

  std::string& out = record.header;
  Put(out, kZipLocalSignature, 4);
  Put(out, 0, 2);  // version needed
  Put(out, Flags(record), 2);
  Put(out, 0, 2);        // stored
  Put(out, 0, 4);        // time and date
  out.append(12, '\0');  // CRC, sizes: in the descriptor and the directory
  Put(out, record.name.size(), 2);
  Put(out, zip64.size() + 4 + padding, 2);
  out += record.name;
  out += zip64;
  out += "FB";
  Put(out, padding, 2);
  out.append(padding, 'Z');

  end_ = record.payload_offset + bytes + DescriptorBytes(record);
  records_.push_back(std::move(record));
  return {};
}

std::string ZipLayout::Descriptor(std::size_t index,
                                  std::uint32_t crc32) const {
  const Record& record = records_[index];
  const std::size_t bytes = DescriptorBytes(record);
  std::string out;
  if (bytes == 0) return out;
  Put(out, kZipDescriptorSignature, 4);
  Put(out, crc32, 4);
  const int width = bytes == 24 ? 8 : 4;
  Put(out, record.bytes, width);
  Put(out, record.bytes, width);
  return out;
}

std::uint64_t ZipLayout::tail_bytes() const {
  std::uint64_t bytes = 56 + kZip64LocatorBytes + kZipEndBytes;
  for (const Record& record : records_) {
    bytes += kEntryBytes + record.name.size() +
             Zip64Extra(record, record.bytes).size();
  }
  return bytes;
}

std::string ZipLayout::Tail(std::span<const std::uint32_t> crcs) const {
  std::string out;
  out.reserve(tail_bytes());
  for (std::size_t i = 0; i < records_.size(); ++i) {
    const Record& record = records_[i];
    const std::string zip64 = Zip64Extra(record, record.bytes);
    Put(out, kZipEntrySignature, 4);
    Put(out, 0, 4);  // made by, version needed
    Put(out, Flags(record), 2);
    Put(out, 0, 6);  // stored; time and date
    Put(out, crcs[i], 4);
    Put(out, Clamped(record.bytes), 4);
    Put(out, Clamped(record.bytes), 4);
    Put(out, record.name.size(), 2);
    Put(out, zip64.size(), 2);
    Put(out, 0, 2 + 2 + 2 + 4);  // comment, disk, attributes
    Put(out, Clamped(record.header_offset), 4);
    out += record.name;
    out += zip64;
  }
  const std::uint64_t directory_bytes = out.size();
  const std::uint64_t end64_offset = end_ + directory_bytes;
  Put(out, kZip64EndSignature, 4);
  Put(out, 56 - 12, 8);
  Put(out, 0x031e, 2);  // made by
  Put(out, 0x2d, 2);    // version needed: 4.5, zip64
  Put(out, 0, 8);       // disks
  Put(out, records_.size(), 8);
  Put(out, records_.size(), 8);
  Put(out, directory_bytes, 8);
  Put(out, end_, 8);
  Put(out, kZip64LocatorSignature, 4);
  Put(out, 0, 4);
  Put(out, end64_offset, 8);
  Put(out, 1, 4);
  Put(out, kZipEndSignature, 4);
  Put(out, 0, 4);  // disks
  const std::uint64_t count = std::min<std::uint64_t>(records_.size(), 0xFFFF);
  Put(out, count, 2);
  Put(out, count, 2);
  Put(out, Clamped(directory_bytes), 4);
  Put(out, Clamped(end_), 4);
  Put(out, 0, 2);
  return out;
}

std::string ZipArchiveName(std::string_view path) {
  // torch.save hands a path with other letters to its writer as a stream, which
  // has no name; elsewhere a backslash separates, too (inline_container.cc,
  // PyTorchStreamWriter).
  const bool ascii = std::all_of(path.begin(), path.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x80;
  });
  if (!ascii) return "archive";
  const std::size_t slash = path.find_last_of("/\\");
  if (slash != std::string_view::npos) path.remove_prefix(slash + 1);
  path = path.substr(0, path.rfind('.'));
  return path.empty() ? "archive" : std::string(path);
}

std::string ZipSerializationId(std::span<const std::string> names,
                               std::span<const std::uint32_t> crcs,
                               std::span<const std::uint64_t> bytes) {
  // PyTorchStreamWriter::writeSerializationId walks an unordered_set: the order
  // is that of the same set here, filled in the same order.
  std::unordered_set<std::string> set;
  std::uint64_t crc = 0;
  for (std::size_t i = 0; i < names.size(); ++i) {
    set.insert(names[i]);
    if (bytes[i] > 0) crc = Combine(crc, crcs[i]);
  }
  std::uint64_t hash = 0;
  for (const std::string& name : set) {
    hash = Combine(hash, std::hash<std::string>()(name));
  }
  char text[41];
  std::snprintf(text, sizeof text, "%020llu%020llu",
                static_cast<unsigned long long>(hash),
                static_cast<unsigned long long>(crc));
  return text;
}

}  // namespace ckptfs
