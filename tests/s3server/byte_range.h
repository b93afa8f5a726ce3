// The Range header, and x-amz-copy-source-range.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace ckptfs::s3server {

struct ByteRange {
  std::uint64_t first;
  std::uint64_t length;
};

struct RangeAnswer {
  enum class Kind { kWhole, kRange, kUnsatisfiable };
  Kind kind = Kind::kWhole;
  ByteRange range = {0, 0};
};

// Of an object of `size` bytes. As S3: a header that is not one range of bytes
// is ignored (the whole object is the answer).
RangeAnswer ParseRange(std::string_view header, std::uint64_t size);

// bytes=first-last, both given and inside the object; else null.
std::optional<ByteRange> ParseCopyRange(std::string_view header,
                                        std::uint64_t size);

}  // namespace ckptfs::s3server
