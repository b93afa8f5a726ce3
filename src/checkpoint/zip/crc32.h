// Crc32: the checksum of zip records (PKWARE APPNOTE 4.4.7).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace ckptfs {

std::uint32_t Crc32(std::span<const std::byte> bytes);

// Of two stretches that follow each other, from the checksum of each.
std::uint32_t Crc32Combine(std::uint32_t first, std::uint32_t second,
                           std::uint64_t second_bytes);

}  // namespace ckptfs
