#include "checkpoint/zip/zip_directory.h"

#include <zlib.h>

#include <algorithm>
#include <memory>

#include "checkpoint/zip/crc32.h"
#include "checkpoint/zip/zip_fields.h"

namespace ckptfs {

namespace {

tl::unexpected<Error> Bad(const std::string& what) {
  return Fail(ErrorCode::kInvalidArgument, what);
}

// APPNOTE 4.4.4: bit 0 encrypted, bit 5 patched data, bit 6 strong encryption,
// bit 13 masked local headers.
constexpr std::uint16_t kRefusedFlags = 0x2061;

Result<void> CheckName(const std::string& name) {
  const auto bad = [&name](const char* why) {
    return Bad("record \"" + name + "\": " + why);
  };
  if (name.empty()) return Bad("a record without a name");
  if (name.front() == '/') return bad("an absolute name");
  if (name.find('\\') != std::string::npos ||
      name.find('\0') != std::string::npos) {
    return bad("a name with a backslash or NUL");
  }
  std::size_t begin = 0;
  while (begin <= name.size()) {
    const std::size_t end = std::min(name.find('/', begin), name.size());
    if (name.compare(begin, end - begin, "..") == 0) {
      return bad("a name with the component ..");
    }
    begin = end + 1;
  }
  return {};
}

// The 64-bit values of a zip64 extra field stand for those of the entry that
// hold all ones, in this order (APPNOTE 4.5.3).
Result<void> ReadExtra(ZipFields extra, const std::string& name,
                       std::uint64_t& bytes, std::uint64_t& stored,
                       std::uint64_t& offset) {
  while (extra.left() >= 4) {
    const std::uint16_t id = extra.U16();
    ZipFields field = extra.Take(extra.U16());
    if (extra.failed()) break;
    if (id != 1) continue;
    for (std::uint64_t* value : {&bytes, &stored, &offset}) {
      if (*value == kZip32Max) *value = field.U64();
    }
    if (field.failed()) {
      return Bad("record \"" + name + "\": a zip64 field that is too short");
    }
    return {};
  }
  return {};
}

}  // namespace

Result<ZipTail> ParseZipTail(std::span<const std::byte> tail,
                             std::uint64_t file_size) {
  const std::uint64_t base = file_size - tail.size();
  // Backwards over a comment of up to 64 KiB.
  for (std::size_t i = tail.size(); i >= kZipEndBytes; --i) {
    const std::size_t at = i - kZipEndBytes;
    ZipFields end(tail.subspan(at));
    if (end.U32() != kZipEndSignature) continue;
    const std::uint16_t disk = end.U16();
    const std::uint16_t directory_disk = end.U16();
    const std::uint16_t entries_here = end.U16();
    ZipTail out;
    out.entries = end.U16();
    out.directory_bytes = end.U32();
    out.directory_offset = end.U32();
    if (end.U16() != end.left()) continue;  // a signature inside a comment
    std::uint64_t records_begin = base + at;
    if (at >= kZip64LocatorBytes) {
      ZipFields locator(tail.subspan(at - kZip64LocatorBytes));
      if (locator.U32() == kZip64LocatorSignature) {
        locator.U32();
        const std::uint64_t offset = locator.U64();
        if (locator.U32() > 1) return Bad("a zip of several disks");
        if (offset < base || offset - base > at - kZip64LocatorBytes) {
          return Bad("the zip64 end record is not before its locator");
        }
        ZipFields end64(tail.subspan(offset - base));
        if (end64.U32() != kZip64EndSignature) {
          return Bad("no zip64 end record at offset " + std::to_string(offset));
        }
        end64.U64();  // its size
        end64.U16();  // made by
        end64.U16();  // needed
        const std::uint32_t disk64 = end64.U32();
        const std::uint32_t directory_disk64 = end64.U32();
        const std::uint64_t here = end64.U64();
        out.entries = end64.U64();
        out.directory_bytes = end64.U64();
        out.directory_offset = end64.U64();
        if (end64.failed()) return Bad("a zip64 end record that is cut short");
        if (disk64 != 0 || directory_disk64 != 0 || here != out.entries) {
          return Bad("a zip of several disks");
        }
        records_begin = offset;
      }
    } else if (disk != 0 || directory_disk != 0 ||
               entries_here != out.entries) {
      return Bad("a zip of several disks");
    }
    if (out.directory_offset > records_begin ||
        out.directory_bytes > records_begin - out.directory_offset) {
      return Bad(
          "the zip's directory lies outside of the file, or over its end");
    }
    return out;
  }
  return Bad(
      "not a zip, or one that was cut short: no end record in the last " +
      std::to_string(tail.size()) + " bytes");
}

Result<std::vector<ZipEntry>> ParseZipDirectory(
    std::span<const std::byte> directory, const ZipTail& tail) {
  // An entry has 46 bytes or more: a count that lies reserves nothing.
  if (tail.entries > directory.size() / 46) {
    return Bad("a zip directory of " + std::to_string(directory.size()) +
               " bytes for " + std::to_string(tail.entries) + " records");
  }
  std::vector<ZipEntry> entries;
  entries.reserve(tail.entries);
  ZipFields in(directory);
  for (std::uint64_t i = 0; i < tail.entries; ++i) {
    const std::string number = "entry " + std::to_string(i) + " of the zip";
    if (in.U32() != kZipEntrySignature) {
      return Bad(number + " is damaged or missing");
    }
    in.U16();  // made by
    in.U16();  // needed
    const std::uint16_t flags = in.U16();
    const std::uint16_t method = in.U16();
    in.U32();  // time and date
    ZipEntry entry;
    entry.crc32 = in.U32();
    entry.stored_bytes = in.U32();
    entry.bytes = in.U32();
    const std::uint16_t name_bytes = in.U16();
    const std::uint16_t extra_bytes = in.U16();
    const std::uint16_t comment_bytes = in.U16();
    const std::uint16_t disk = in.U16();
    in.U16();  // internal attributes
    in.U32();  // external attributes
    entry.header_offset = in.U32();
    entry.name = in.Text(name_bytes);
    ZipFields extra = in.Take(extra_bytes);
    in.Take(comment_bytes);
    if (in.failed()) return Bad(number + " is cut short");
    CKPTFS_RETURN_IF_ERROR(CheckName(entry.name));
    CKPTFS_RETURN_IF_ERROR(ReadExtra(extra, entry.name, entry.bytes,
                                     entry.stored_bytes, entry.header_offset));
    const auto bad = [&entry](const std::string& why) {
      return Bad("record \"" + entry.name + "\": " + why);
    };
    if ((flags & kRefusedFlags) != 0) return bad("encrypted or patched");
    if (disk != 0) return bad("on another disk");
    if (method != 0 && method != 8) {
      return bad("compressed by method " + std::to_string(method) +
                 "; stored and deflated are read");
    }
    entry.deflated = method == 8;
    if (!entry.deflated && entry.bytes != entry.stored_bytes) {
      return bad("stored, but with two sizes");
    }
    std::uint64_t end = 0;
    if (__builtin_add_overflow(entry.header_offset,
                               kLocalHeaderBytes + entry.name.size(), &end) ||
        __builtin_add_overflow(end, entry.stored_bytes, &end) ||
        end > tail.directory_offset) {
      return bad("its bytes lie outside of the file, or over the directory");
    }
    entries.push_back(std::move(entry));
  }
  if (in.left() != 0) return Bad("bytes behind the last entry of the zip");
  std::vector<const ZipEntry*> by_offset;
  std::vector<std::string_view> names;
  for (const ZipEntry& entry : entries) {
    by_offset.push_back(&entry);
    names.push_back(entry.name);
  }
  // Sorted rather than hashed: a file could choose names that collide.
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) {
    return Bad("two records are named \"" + std::string(*twice) + "\"");
  }
  std::sort(by_offset.begin(), by_offset.end(),
            [](const ZipEntry* a, const ZipEntry* b) {
              return a->header_offset < b->header_offset;
            });
  for (std::size_t i = 1; i < by_offset.size(); ++i) {
    const ZipEntry& before = *by_offset[i - 1];
    if (before.header_offset + kLocalHeaderBytes + before.name.size() +
            before.stored_bytes >
        by_offset[i]->header_offset) {
      return Bad("the records \"" + before.name + "\" and \"" +
                 by_offset[i]->name + "\" overlap");
    }
  }
  return entries;
}

Result<std::uint64_t> ZipPayloadOffset(const ZipEntry& entry,
                                       std::span<const std::byte> header,
                                       std::uint64_t limit) {
  const auto bad = [&entry](const char* why) {
    return Bad("record \"" + entry.name + "\": " + why);
  };
  ZipFields in(header);
  if (in.U32() != kZipLocalSignature) {
    return bad("no local header where the directory says");
  }
  in.U16();  // needed
  const std::uint16_t flags = in.U16();
  const std::uint16_t method = in.U16();
  in.U32();  // time and date
  in.U32();  // CRC; with the sizes in the descriptor where they are zero
  in.U32();
  in.U32();
  const std::uint16_t name_bytes = in.U16();
  const std::uint16_t extra_bytes = in.U16();
  if (in.failed()) return bad("a local header that is cut short");
  if ((flags & kRefusedFlags) != 0 || method != (entry.deflated ? 8 : 0) ||
      name_bytes != entry.name.size()) {
    return bad("the local header and the directory differ");
  }
  if (in.left() >= name_bytes && in.Text(name_bytes) != entry.name) {
    return bad("the local header has another name");
  }
  const std::uint64_t payload =
      entry.header_offset + kLocalHeaderBytes + name_bytes + extra_bytes;
  if (payload > limit || entry.stored_bytes > limit - payload) {
    return bad("its bytes run into the next record");
  }
  return payload;
}

Result<std::string> InflateZipRecord(const ZipEntry& entry,
                                     std::span<const std::byte> stored) {
  const auto bad = [&entry](const std::string& why) {
    return Bad("record \"" + entry.name + "\": " + why);
  };
  z_stream stream{};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) {
    return Fail(ErrorCode::kResourceExhausted, "zlib: no memory");
  }
  const std::unique_ptr<z_stream, int (*)(z_stream*)> ends(&stream, inflateEnd);
  std::string out;
  std::size_t produced = 0;
  int status = Z_OK;
  while (status != Z_STREAM_END) {
    if (stream.avail_in == 0 && !stored.empty()) {
      const std::size_t n = std::min<std::size_t>(stored.size(), 1u << 30);
      // zlib's next_in is non-const and only read.
      stream.next_in =
          reinterpret_cast<Bytef*>(const_cast<std::byte*>(stored.data()));
      stream.avail_in = static_cast<uInt>(n);
      stored = stored.subspan(n);
    }
    if (produced == out.size()) {
      // One byte more than allowed shows that there are more.
      const std::uint64_t most = entry.bytes + 1;
      if (out.size() >= most) return bad("inflates to more than it says");
      out.resize(std::min<std::uint64_t>(
          most, std::max<std::size_t>(64u << 10, out.size() * 2)));
    }
    const std::size_t room =
        std::min<std::size_t>(out.size() - produced, 1u << 30);
    stream.next_out = reinterpret_cast<Bytef*>(out.data() + produced);
    stream.avail_out = static_cast<uInt>(room);
    status = inflate(&stream, Z_NO_FLUSH);
    produced += room - stream.avail_out;
    if (status != Z_OK && status != Z_STREAM_END) {
      return bad("damaged: it does not inflate");
    }
    if (status == Z_OK && stream.avail_in == 0 && stored.empty() &&
        stream.avail_out > 0) {
      return bad("cut short: it does not inflate to its end");
    }
  }
  if (produced != entry.bytes) {
    return bad("inflates to " + std::to_string(produced) + " bytes and says " +
               std::to_string(entry.bytes));
  }
  out.resize(produced);
  return out;
}

Result<void> CheckZipCrc(const ZipEntry& entry,
                         std::span<const std::byte> bytes) {
  if (Crc32(bytes) == entry.crc32) return {};
  return Fail(ErrorCode::kDataLoss, "record " + entry.name + " at offset " +
                                        std::to_string(entry.header_offset) +
                                        " is damaged: its checksum differs");
}

}  // namespace ckptfs
