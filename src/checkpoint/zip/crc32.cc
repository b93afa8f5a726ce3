#include "checkpoint/zip/crc32.h"

// libdeflate computes with carry-less multiplication what zlib looks up in
// tables, at several times the speed (docs/adr/0008); zlib can combine.
#include <libdeflate.h>
#include <zlib.h>

namespace ckptfs {

std::uint32_t Crc32(std::span<const std::byte> bytes) {
  return libdeflate_crc32(0, bytes.data(), bytes.size());
}

std::uint32_t Crc32Combine(std::uint32_t first, std::uint32_t second,
                           std::uint64_t second_bytes) {
  return static_cast<std::uint32_t>(
      crc32_combine64(first, second, static_cast<z_off64_t>(second_bytes)));
}

}  // namespace ckptfs
