#include "s3server/aws_chunked.h"

#include <charconv>
#include <string>

namespace ckptfs::s3server {

Reply<Content> DecodeAwsChunked(const Content& body) {
  const std::string coded = body.ToString();
  std::string_view rest = coded;
  std::string decoded;
  while (true) {
    const std::size_t end = rest.find("\r\n");
    if (end == std::string_view::npos) break;
    const std::string_view digits =
        rest.substr(0, std::min(end, rest.find(';')));
    std::uint64_t size = 0;
    const auto [stop, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), size, 16);
    if (error != std::errc() || stop != digits.data() + digits.size()) break;
    rest.remove_prefix(end + 2);
    if (size == 0) return Content::FromString(decoded);  // trailers follow
    if (size > rest.size() || !rest.substr(size).starts_with("\r\n")) break;
    decoded.append(rest.substr(0, size));
    rest.remove_prefix(size + 2);
  }
  return Refuse(400, "IncompleteBody",
                "The request body is not properly aws-chunked.");
}

}  // namespace ckptfs::s3server
