// Percent-coding and query strings. Pure functions over bytes.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckptfs::s3server {

// Pairs in the order of the query string; a name without '=' has value "".
using QueryParameters = std::vector<std::pair<std::string, std::string>>;

// Null if a '%' is not followed by two hex digits.
std::optional<std::string> PercentDecode(std::string_view text,
                                         bool plus_is_space = false);
// As SigV4 wants it: all but A-Z a-z 0-9 - . _ ~ as %XX; '/' kept on request.
std::string PercentEncode(std::string_view bytes, bool keep_slash);
// As ListObjects answers with encoding-type=url: '/' kept, space as '+'.
std::string ListingEncode(std::string_view bytes);

std::optional<QueryParameters> ParseQuery(std::string_view query);

}  // namespace ckptfs::s3server
