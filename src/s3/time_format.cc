#include "s3/time_format.h"

#include <array>
#include <cstdio>
#include <cstring>
#include <ctime>

namespace ckptfs {

namespace {

std::optional<WallClockTime> FromUtc(int year, int month, int day, int hour,
                                     int minute, int second) {
  const std::chrono::year_month_day date{
      std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
      std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok() || hour < 0 || hour > 23 || minute < 0 || minute > 59 ||
      second < 0 || second > 60) {
    return std::nullopt;
  }
  return std::chrono::sys_days(date) + std::chrono::hours(hour) +
         std::chrono::minutes(minute) + std::chrono::seconds(second);
}

}  // namespace

std::string FormatAmzDate(WallClockTime time) {
  const std::time_t t = std::chrono::system_clock::to_time_t(time);
  std::tm tm{};
  gmtime_r(&t, &tm);
  std::array<char, 32> text;
  const std::size_t n =
      std::strftime(text.data(), text.size(), "%Y%m%dT%H%M%SZ", &tm);
  return std::string(text.data(), n);
}

std::optional<WallClockTime> ParseIso8601(std::string_view text) {
  const std::string s(text);
  int year, month, day, hour, minute, second, used = 0;
  if (std::sscanf(s.c_str(), "%4d-%2d-%2dT%2d:%2d:%2d%n", &year, &month, &day,
                  &hour, &minute, &second, &used) != 6) {
    return std::nullopt;
  }
  auto time = FromUtc(year, month, day, hour, minute, second);
  if (!time.has_value()) return std::nullopt;
  std::size_t i = static_cast<std::size_t>(used);
  if (i < s.size() && s[i] == '.') {
    long long nanos = 0;
    long long unit = 100'000'000;
    for (++i; i < s.size() && s[i] >= '0' && s[i] <= '9'; ++i) {
      nanos += (s[i] - '0') * unit;
      unit /= 10;
    }
    *time += std::chrono::duration_cast<WallClockTime::duration>(
        std::chrono::nanoseconds(nanos));
  }
  return time;
}

std::optional<WallClockTime> ParseHttpDate(std::string_view text) {
  static constexpr char kMonths[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
  const std::string s(text);
  std::array<char, 4> name{};
  int year, day, hour, minute, second;
  if (std::sscanf(s.c_str(), "%*3s, %2d %3s %4d %2d:%2d:%2d", &day, name.data(),
                  &year, &hour, &minute, &second) != 6) {
    return std::nullopt;
  }
  const char* found = std::strstr(kMonths, name.data());
  if (found == nullptr || std::strlen(name.data()) != 3) return std::nullopt;
  return FromUtc(year, static_cast<int>(found - kMonths) / 3 + 1, day, hour,
                 minute, second);
}

}  // namespace ckptfs
