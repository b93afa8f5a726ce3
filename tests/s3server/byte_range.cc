#include "s3server/byte_range.h"

#include <algorithm>

#include "s3server/http_message.h"

namespace ckptfs::s3server {

RangeAnswer ParseRange(std::string_view header, std::uint64_t size) {
  using Kind = RangeAnswer::Kind;
  constexpr std::string_view kUnit = "bytes=";
  if (!header.starts_with(kUnit)) return {};
  header.remove_prefix(kUnit.size());
  const std::size_t dash = header.find('-');
  if (dash == std::string_view::npos) return {};
  const std::string_view first_text = header.substr(0, dash);
  const std::string_view last_text = header.substr(dash + 1);
  if (first_text.empty()) {
    const auto suffix = ParseNumber(last_text);
    if (!suffix) return {};
    if (*suffix == 0 || size == 0) return {Kind::kUnsatisfiable};
    const std::uint64_t length = std::min(*suffix, size);
    return {Kind::kRange, {size - length, length}};
  }
  const auto first = ParseNumber(first_text);
  if (!first) return {};
  std::uint64_t last = size - 1;
  if (!last_text.empty()) {
    const auto parsed = ParseNumber(last_text);
    if (!parsed || *parsed < *first) return {};
    last = *parsed;
  }
  if (*first >= size) return {Kind::kUnsatisfiable};
  last = std::min(last, size - 1);
  return {Kind::kRange, {*first, last - *first + 1}};
}

std::optional<ByteRange> ParseCopyRange(std::string_view header,
                                        std::uint64_t size) {
  constexpr std::string_view kUnit = "bytes=";
  if (!header.starts_with(kUnit)) return std::nullopt;
  header.remove_prefix(kUnit.size());
  const std::size_t dash = header.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const auto first = ParseNumber(header.substr(0, dash));
  const auto last = ParseNumber(header.substr(dash + 1));
  if (!first || !last || *first > *last || *last >= size) return std::nullopt;
  return ByteRange{*first, *last - *first + 1};
}

}  // namespace ckptfs::s3server
