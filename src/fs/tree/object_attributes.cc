#include "fs/tree/object_attributes.h"

#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

namespace ckptfs::fs {

namespace {

constexpr char kMode[] = "file-permissions";
constexpr char kOwner[] = "file-owner";
constexpr char kGroup[] = "file-group";
constexpr char kMtime[] = "file-mtime";
constexpr char kAtime[] = "file-atime";

const std::string* Find(const UserMetadata& metadata, const char* name) {
  const auto it = metadata.find(name);
  return it == metadata.end() ? nullptr : &it->second;
}

template <typename T>
std::optional<T> ParseNumber(const std::string* text, int base) {
  if (text == nullptr || text->empty()) return std::nullopt;
  T value{};
  const char* end = text->data() + text->size();
  const auto [stop, error] = std::from_chars(text->data(), end, value, base);
  if (error != std::errc() || stop != end) return std::nullopt;
  return value;
}

std::optional<WallTime> ParseTime(const std::string* text) {
  if (text == nullptr) return std::nullopt;
  std::string number = *text;
  const bool nanoseconds = number.ends_with("ns");
  if (nanoseconds) number.resize(number.size() - 2);
  const auto value = ParseNumber<std::int64_t>(&number, 10);
  if (!value) return std::nullopt;
  if (nanoseconds) return WallTime(std::chrono::nanoseconds(*value));
  // A value this large would overflow when turned into nanoseconds.
  if (*value > INT64_MAX / 1'000'000 || *value < INT64_MIN / 1'000'000) {
    return std::nullopt;
  }
  return WallTime(std::chrono::milliseconds(*value));
}

std::string TimeText(WallTime time) {
  return std::to_string(std::chrono::duration_cast<std::chrono::nanoseconds>(
                            time.time_since_epoch())
                            .count()) +
         "ns";
}

}  // namespace

StoredAttributes DecodeAttributes(const UserMetadata& metadata) {
  StoredAttributes out;
  const auto mode = ParseNumber<std::uint32_t>(Find(metadata, kMode), 8);
  if (mode && *mode <= 0177777) out.mode = *mode;
  out.uid = ParseNumber<uid_t>(Find(metadata, kOwner), 10);
  out.gid = ParseNumber<gid_t>(Find(metadata, kGroup), 10);
  out.mtime = ParseTime(Find(metadata, kMtime));
  out.atime = ParseTime(Find(metadata, kAtime));
  return out;
}

void EncodeAttributes(const StoredAttributes& attributes,
                      UserMetadata& metadata) {
  if (attributes.mode) {
    char text[16];
    std::snprintf(text, sizeof text, "%07o",
                  static_cast<unsigned>(*attributes.mode));
    metadata[kMode] = text;
  }
  if (attributes.uid) metadata[kOwner] = std::to_string(*attributes.uid);
  if (attributes.gid) metadata[kGroup] = std::to_string(*attributes.gid);
  if (attributes.mtime) metadata[kMtime] = TimeText(*attributes.mtime);
  if (attributes.atime) metadata[kAtime] = TimeText(*attributes.atime);
}

}  // namespace ckptfs::fs
