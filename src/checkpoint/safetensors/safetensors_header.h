// The header of a safetensors file: parsed with the checks of the reference
// implementation (safetensors 0.8, src/tensor.rs), and written byte for byte as
// it writes it.
#pragma once

#include <ckptfs/checkpoint/dtype.h>
#include <ckptfs/result.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace ckptfs {

struct SafetensorsEntry {
  std::string name;
  DType dtype = DType::kFloat32;
  std::vector<std::int64_t> shape;
  // Into the byte buffer, which begins at data_offset.
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> tensors;  // by offset
  std::map<std::string, std::string> metadata;
  std::uint64_t data_offset = 0;  // of the byte buffer in the file
  std::uint64_t file_bytes = 0;
};

inline constexpr std::uint64_t kMaxSafetensorsHeader = 100'000'000;

// The length of the JSON, from the first 8 bytes of a file of `file_bytes`.
// kInvalidArgument: too short, or a length beyond the maximum or the file.
Result<std::uint64_t> ParseSafetensorsLength(std::span<const std::byte> first8,
                                             std::uint64_t file_bytes);

// `json`: the bytes behind the first 8, as many as they say. kInvalidArgument,
// with the tensor's name: no JSON of that form, duplicate keys, negative or
// overflowing sizes, offsets that do not match shape and dtype, holes,
// overlaps, a file that is not exactly as long as they say. kUnsupported: a
// dtype that is not read here.
Result<SafetensorsHeader> ParseSafetensorsHeader(
    std::span<const std::byte> json, std::uint64_t file_bytes);

// Orders the tensors as safetensors does, sets their offsets (begin and end are
// ignored on input), and gives the first bytes of the file: length and padded
// JSON. kInvalidArgument: a duplicate name, the name __metadata__, a name or
// metadata that is no UTF-8, negative or overflowing sizes, a header beyond the
// maximum. kUnsupported: a dtype that safetensors lacks.
Result<std::string> LayOutSafetensors(SafetensorsHeader& header);

}  // namespace ckptfs
