#include "checkpoint/safetensors/safetensors_header.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>
#include <utility>

#include "checkpoint/safetensors/safetensors_json.h"

namespace ckptfs {

namespace {

using Json = nlohmann::json;

constexpr char kMetadata[] = "__metadata__";
tl::unexpected<Error> Bad(const std::string& why) {
  return Fail(ErrorCode::kInvalidArgument, "safetensors header: " + why);
}

tl::unexpected<Error> BadTensor(const std::string& name,
                                const std::string& why) {
  return Bad("tensor \"" + name + "\": " + why);
}

// The order in which safetensors 0.8 lays tensors out, from the front of the
// file: by falling alignment (src/tensor.rs, enum Dtype, backwards).
constexpr std::array kLayoutOrder = {
    DType::kUInt64,         DType::kInt64,         DType::kFloat64,
    DType::kComplex64,      DType::kFloat32,       DType::kUInt32,
    DType::kInt32,          DType::kBFloat16,      DType::kFloat16,
    DType::kUInt16,         DType::kInt16,         DType::kFloat8E5M2FNUZ,
    DType::kFloat8E4M3FNUZ, DType::kFloat8E8M0FNU, DType::kFloat8E4M3FN,
    DType::kFloat8E5M2,     DType::kInt8,          DType::kUInt8,
    DType::kFloat4E2M1FNX2, DType::kBool,
};

std::size_t LayoutRank(DType dtype) {
  return static_cast<std::size_t>(
      std::find(kLayoutOrder.begin(), kLayoutOrder.end(), dtype) -
      kLayoutOrder.begin());
}

Result<std::uint64_t> BytesOf(const SafetensorsEntry& entry) {
  std::uint64_t bytes = SizeOf(entry.dtype);
  for (const std::int64_t size : entry.shape) {
    if (size < 0 || __builtin_mul_overflow(
                        bytes, static_cast<std::uint64_t>(size), &bytes)) {
      return BadTensor(entry.name, "a shape that is negative or overflows");
    }
  }
  return bytes;
}

// safetensors counts the elements of F4, which torch counts by the byte.
constexpr std::int64_t kF4PerByte = 2;

// What one entry says of itself, against itself.
Result<void> CheckEntry(SafetensorsEntry& entry) {
  if (entry.dtype == DType::kFloat4E2M1FNX2) {
    if (entry.shape.empty() || entry.shape.back() % kF4PerByte != 0) {
      return BadTensor(entry.name, "a last dimension of F4 that fills no byte");
    }
    entry.shape.back() /= kF4PerByte;
  }
  CKPTFS_ASSIGN_OR_RETURN(const std::uint64_t bytes, BytesOf(entry));
  if (entry.begin > entry.end || entry.end - entry.begin != bytes) {
    return BadTensor(entry.name,
                     "data_offsets [" + std::to_string(entry.begin) + ", " +
                         std::to_string(entry.end) + "] do not match its " +
                         std::to_string(bytes) + " bytes");
  }
  return {};
}

std::string Quoted(const std::string& text) { return Json(text).dump(); }

bool IsUtf8(const std::string& text) {
  return Json(text).dump(-1, ' ', false, Json::error_handler_t::ignore) ==
         Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

Result<std::uint64_t> ParseSafetensorsLength(std::span<const std::byte> first8,
                                             std::uint64_t file_bytes) {
  if (first8.size() < 8 || file_bytes < 8) {
    return Bad("the file has fewer than 8 bytes");
  }
  std::uint64_t length = 0;
  for (std::size_t i = 8; i-- > 0;) {
    length = length << 8 | std::to_integer<std::uint64_t>(first8[i]);
  }
  if (length > kMaxSafetensorsHeader) {
    return Bad("a length of " + std::to_string(length) +
               " bytes, over the limit of " +
               std::to_string(kMaxSafetensorsHeader));
  }
  if (length > file_bytes - 8) {
    return Bad("a length of " + std::to_string(length) +
               " bytes in a file of " + std::to_string(file_bytes));
  }
  return length;
}

Result<SafetensorsHeader> ParseSafetensorsHeader(
    std::span<const std::byte> json, std::uint64_t file_bytes) {
  const std::string_view text(reinterpret_cast<const char*>(json.data()),
                              json.size());
  if (!text.starts_with('{')) return Bad("it does not begin with {");
  CKPTFS_ASSIGN_OR_RETURN(SafetensorsHeader header,
                          SafetensorsJson::Parse(text));
  header.data_offset = 8 + json.size();
  header.file_bytes = file_bytes;
  for (SafetensorsEntry& entry : header.tensors) {
    CKPTFS_RETURN_IF_ERROR(CheckEntry(entry));
  }
  std::sort(header.tensors.begin(), header.tensors.end(),
            [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
              return std::tie(a.begin, a.end, a.name) <
                     std::tie(b.begin, b.end, b.name);
            });
  std::uint64_t at = 0;
  for (const SafetensorsEntry& entry : header.tensors) {
    if (entry.begin != at) {
      return BadTensor(
          entry.name, "its bytes begin at " + std::to_string(entry.begin) +
                          ", and those before it end at " + std::to_string(at));
    }
    at = entry.end;
  }
  if (file_bytes < header.data_offset ||
      file_bytes - header.data_offset != at) {
    return Bad("the file has " + std::to_string(file_bytes) +
               " bytes, and its tensors end at " +
               std::to_string(header.data_offset + at));
  }
  return header;
}

Result<std::string> LayOutSafetensors(SafetensorsHeader& header) {
  std::sort(header.tensors.begin(), header.tensors.end(),
            [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
              return std::pair(LayoutRank(a.dtype), std::string_view(a.name)) <
                     std::pair(LayoutRank(b.dtype), std::string_view(b.name));
            });
  std::string json = "{";
  if (!header.metadata.empty()) {
    json += Quoted(kMetadata) + ":{";
    for (const auto& [key, value] : header.metadata) {
      if (!IsUtf8(key) || !IsUtf8(value)) {
        return Bad("__metadata__ that is no UTF-8");
      }
      if (!json.ends_with('{')) json += ',';
      json += Quoted(key) + ':' + Quoted(value);
    }
    json += '}';
  }
  std::set<std::string_view> names;
  std::uint64_t at = 0;
  for (SafetensorsEntry& entry : header.tensors) {
    if (InfoOf(entry.dtype).safetensors_name.empty()) {
      return Fail(ErrorCode::kUnsupported,
                  "tensor \"" + entry.name + "\": safetensors has no dtype " +
                      std::string(InfoOf(entry.dtype).torch_name));
    }
    if (entry.name == kMetadata || !names.insert(entry.name).second) {
      return BadTensor(entry.name, "a name that is taken");
    }
    if (!IsUtf8(entry.name)) return Bad("a tensor whose name is no UTF-8");
    CKPTFS_ASSIGN_OR_RETURN(const std::uint64_t bytes, BytesOf(entry));
    entry.begin = at;
    if (__builtin_add_overflow(at, bytes, &at)) {
      return BadTensor(entry.name, "the file would be too large");
    }
    entry.end = at;
    std::vector<std::int64_t> shape = entry.shape;
    if (entry.dtype == DType::kFloat4E2M1FNX2) {
      if (shape.empty() ||
          __builtin_mul_overflow(shape.back(), kF4PerByte, &shape.back())) {
        return BadTensor(entry.name, "F4 needs a last dimension");
      }
    }
    if (json.size() > 1) json += ',';
    json += Quoted(entry.name) + ":{\"dtype\":\"" +
            std::string(InfoOf(entry.dtype).safetensors_name) +
            "\",\"shape\":" + Json(shape).dump() + ",\"data_offsets\":[" +
            std::to_string(entry.begin) + "," + std::to_string(entry.end) +
            "]}";
  }
  json += '}';
  json.append((8 - json.size() % 8) % 8, ' ');
  if (json.size() > kMaxSafetensorsHeader) {
    return Bad("it would have " + std::to_string(json.size()) +
               " bytes, over the limit of " +
               std::to_string(kMaxSafetensorsHeader));
  }
  header.data_offset = 8 + json.size();
  header.file_bytes = header.data_offset + at;
  std::string out;
  for (int i = 0; i < 8; ++i) {
    out.push_back(static_cast<char>(json.size() >> (8 * i) & 0xFF));
  }
  return out + json;
}

}  // namespace ckptfs
