// The three date forms of S3: HTTP (RFC 7231), ISO 8601 with milliseconds in
// XML, and the basic form of SigV4. All UTC.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace ckptfs::s3server {

using SystemTime = std::chrono::system_clock::time_point;

std::string HttpDate(SystemTime time);  // Tue, 15 Nov 1994 12:45:26 GMT
std::string IsoDate(SystemTime time);   // 1994-11-15T12:45:26.000Z
// 19941115T124526Z; null if malformed.
std::optional<SystemTime> ParseAmzDate(std::string_view text);
// Null if malformed.
std::optional<SystemTime> ParseHttpDate(std::string_view text);

}  // namespace ckptfs::s3server
