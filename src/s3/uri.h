// Percent encoding as SigV4 wants it, and its reverse. Pure functions.
#pragma once

#include <string>
#include <string_view>

namespace ckptfs {

// Everything but A-Z a-z 0-9 - . _ ~ becomes %XX (upper-case hex), and so does
// '/' unless `keep_slash`.
std::string UriEncode(std::string_view text, bool keep_slash);

// Reverses encoding-type=url of listings, where a space travels as '+' (AWS)
// or "%20" (others). A malformed escape stays as it is.
std::string UriDecode(std::string_view text);

}  // namespace ckptfs
