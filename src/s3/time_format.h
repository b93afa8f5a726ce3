// The three spellings of time in S3: SigV4's basic ISO 8601, the XML's
// extended one, and HTTP dates. Pure functions, independent of the locale.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace ckptfs {

using WallClockTime = std::chrono::system_clock::time_point;

// "20130524T000000Z"
std::string FormatAmzDate(WallClockTime time);
// "2013-05-24T00:00:00.000Z", the fraction optional.
std::optional<WallClockTime> ParseIso8601(std::string_view text);
// "Fri, 24 May 2013 00:00:00 GMT"
std::optional<WallClockTime> ParseHttpDate(std::string_view text);

}  // namespace ckptfs
