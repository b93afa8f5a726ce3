#include "s3server/dates.h"

#include <time.h>

#include <cstdio>

namespace ckptfs::s3server {
namespace {

std::optional<SystemTime> Parse(std::string_view text, const char* format) {
  const std::string copy(text);
  std::tm fields{};
  const char* end = ::strptime(copy.c_str(), format, &fields);
  if (end == nullptr || *end != '\0') return std::nullopt;
  return std::chrono::system_clock::from_time_t(::timegm(&fields));
}

std::tm FieldsOf(SystemTime time) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(
      std::chrono::floor<std::chrono::seconds>(time));
  std::tm fields{};
  ::gmtime_r(&seconds, &fields);
  return fields;
}

}  // namespace

std::string HttpDate(SystemTime time) {
  // Not strftime: its names of days and months follow the locale.
  constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed",
                                   "Thu", "Fri", "Sat"};
  constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const std::tm fields = FieldsOf(time);
  char text[64];
  std::snprintf(text, sizeof(text), "%s, %02d %s %04d %02d:%02d:%02d GMT",
                kDays[fields.tm_wday], fields.tm_mday, kMonths[fields.tm_mon],
                fields.tm_year + 1900, fields.tm_hour, fields.tm_min,
                fields.tm_sec);
  return text;
}

std::string IsoDate(SystemTime time) {
  const std::tm fields = FieldsOf(time);
  const auto millis =
      std::chrono::floor<std::chrono::milliseconds>(time.time_since_epoch())
          .count() %
      1000;
  char seconds[32];
  std::strftime(seconds, sizeof(seconds), "%Y-%m-%dT%H:%M:%S", &fields);
  char text[48];
  std::snprintf(text, sizeof(text), "%s.%03dZ", seconds,
                static_cast<int>(millis));
  return text;
}

std::optional<SystemTime> ParseAmzDate(std::string_view text) {
  return Parse(text, "%Y%m%dT%H%M%SZ");
}

std::optional<SystemTime> ParseHttpDate(std::string_view text) {
  return Parse(text, "%a, %d %b %Y %H:%M:%S GMT");
}

}  // namespace ckptfs::s3server
