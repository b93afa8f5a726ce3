#include "s3server/conditions.h"

#include "s3server/http_message.h"

namespace ckptfs::s3server {

std::string_view Unquote(std::string_view etag) {
  if (etag.size() >= 2 && etag.front() == '"' && etag.back() == '"') {
    return etag.substr(1, etag.size() - 2);
  }
  return etag;
}

bool MatchesETag(std::string_view header, std::string_view etag) {
  while (true) {
    const std::size_t comma = header.find(',');
    const std::string_view tag = Unquote(Trim(header.substr(0, comma)));
    if (tag == "*" || tag == etag) return true;
    if (comma == std::string_view::npos) return false;
    header.remove_prefix(comma + 1);
  }
}

}  // namespace ckptfs::s3server
