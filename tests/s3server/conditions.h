// If-Match and If-None-Match, as lists of entity tags.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace ckptfs::s3server {

struct Conditions {
  std::optional<std::string> if_match = std::nullopt;
  std::optional<std::string> if_none_match = std::nullopt;
};

// Whether the header's value (`*`, or tags with or without quotes, separated by
// commas) names `etag` (without quotes).
bool MatchesETag(std::string_view header, std::string_view etag);

std::string_view Unquote(std::string_view etag);
inline std::string Quote(std::string_view etag) {
  return "\"" + std::string(etag) + "\"";
}

}  // namespace ckptfs::s3server
