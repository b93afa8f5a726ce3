// ZipFields: little-endian fields from a span that may be too short. And the
// signatures and sizes of the zip format (PKWARE APPNOTE 6.3.10, section 4.3).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace ckptfs {

inline constexpr std::uint32_t kZipLocalSignature = 0x04034b50;
inline constexpr std::uint32_t kZipDescriptorSignature = 0x08074b50;
inline constexpr std::uint32_t kZipEntrySignature = 0x02014b50;
inline constexpr std::uint32_t kZipEndSignature = 0x06054b50;
inline constexpr std::uint32_t kZip64EndSignature = 0x06064b50;
inline constexpr std::uint32_t kZip64LocatorSignature = 0x07064b50;
inline constexpr std::size_t kZipEndBytes = 22;
inline constexpr std::size_t kZip64LocatorBytes = 20;
inline constexpr std::uint64_t kZip32Max = 0xFFFFFFFF;

// Past the end every field is zero and failed() is true.
class ZipFields {
 public:
  explicit ZipFields(std::span<const std::byte> data) : data_(data) {}

  std::uint16_t U16() { return static_cast<std::uint16_t>(Little(2)); }
  std::uint32_t U32() { return static_cast<std::uint32_t>(Little(4)); }
  std::uint64_t U64() { return Little(8); }
  ZipFields Take(std::size_t n) {
    if (n > data_.size()) {
      failed_ = true;
      n = data_.size();
    }
    ZipFields out(data_.first(n));
    data_ = data_.subspan(n);
    return out;
  }
  std::string Text(std::size_t n) {
    const ZipFields taken = Take(n);
    return std::string(reinterpret_cast<const char*>(taken.data_.data()),
                       taken.data_.size());
  }
  std::size_t left() const { return data_.size(); }
  bool failed() const { return failed_; }

 private:
  std::uint64_t Little(std::size_t n) {
    const ZipFields taken = Take(n);
    if (taken.data_.size() < n) return 0;
    std::uint64_t value = 0;
    for (std::size_t i = n; i-- > 0;) {
      value = value << 8 | std::to_integer<std::uint64_t>(taken.data_[i]);
    }
    return value;
  }

  std::span<const std::byte> data_;
  bool failed_ = false;
};

}  // namespace ckptfs
