// SafetensorsJson: the JSON of a safetensors header as it is parsed, event by
// event: in linear time, with no document in between, and as strict as the
// format's description. The reference implementation (safetensors 0.8) reads
// more, which no library writes: spaces before the brace, a key twice (the last
// one counts), fields that it does not know.
#pragma once

#include <ckptfs/result.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "checkpoint/safetensors/safetensors_header.h"

namespace ckptfs {

// Takes the events of nlohmann's SAX parser. What it collects are tensors and
// metadata; shapes, dtypes and offsets are looked at one by one and not yet
// compared with each other.
class SafetensorsJson final : public nlohmann::json_sax<nlohmann::json> {
 public:
  // kInvalidArgument, with the tensor: no JSON of that form, keys that appear
  // twice. kUnsupported: a dtype that is not read here.
  static Result<SafetensorsHeader> Parse(std::string_view text);

  bool null() override;
  bool boolean(bool) override { return Other(); }
  bool number_integer(number_integer_t) override { return Other(); }
  bool number_unsigned(number_unsigned_t value) override;
  bool number_float(number_float_t, const string_t&) override {
    return Other();
  }
  bool string(string_t& value) override;
  bool binary(binary_t&) override { return Other(); }
  bool start_object(std::size_t) override;
  bool end_object() override;
  bool key(string_t& name) override;
  bool start_array(std::size_t) override;
  bool end_array() override;
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::json::exception&) override;

 private:
  // Where in the header the parser is.
  enum class At {
    kBegin,
    kTop,       // a key, or the end
    kTensor,    // likewise
    kMetadata,  // likewise
    kTopValue,
    kTensorValue,
    kMetadataValue,
    kShape,
    kOffsets,
    kEnd,
  };
  enum class Field { kDType, kShape, kOffsets };

  // A value of a kind that has no place here.
  bool Other();
  bool Fail(std::string why);
  bool FailTensor(const std::string& why);

  SafetensorsHeader header_;
  At at_ = At::kBegin;
  std::string key_;  // of the value to come, at the top or in metadata
  std::set<std::string> names_;
  bool has_metadata_ = false;
  // Of the tensor that is being read.
  SafetensorsEntry entry_;
  Field field_ = Field::kDType;
  bool has_dtype_ = false;
  bool has_shape_ = false;
  bool has_offsets_ = false;
  int offsets_ = 0;  // how many have come
  std::optional<Error> error_;
};

}  // namespace ckptfs
