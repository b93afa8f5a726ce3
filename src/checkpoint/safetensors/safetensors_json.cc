#include "checkpoint/safetensors/safetensors_json.h"

#include <cstdint>
#include <utility>

namespace ckptfs {

namespace {

constexpr char kMetadata[] = "__metadata__";
// More than any library has; a header is no place to keep many of them.
constexpr std::size_t kMaxDimensions = 1024;
constexpr std::uint64_t kMaxSize = INT64_MAX;

}  // namespace

Result<SafetensorsHeader> SafetensorsJson::Parse(std::string_view text) {
  // The parser would take it for the end of the text.
  if (const std::size_t nul = text.find('\0'); nul != text.npos) {
    return ckptfs::Fail(ErrorCode::kInvalidArgument,
                        "safetensors header: it is no JSON object: byte " +
                            std::to_string(nul) + " of it makes no sense");
  }
  SafetensorsJson sax;
  const bool parsed = nlohmann::json::sax_parse(text.begin(), text.end(), &sax);
  if (sax.error_) return ckptfs::Fail(*std::move(sax.error_));
  if (!parsed || sax.at_ != At::kEnd) {
    return ckptfs::Fail(ErrorCode::kInvalidArgument,
                        "safetensors header: it is no JSON object");
  }
  return std::move(sax.header_);
}

bool SafetensorsJson::Fail(std::string why) {
  error_ = Error(ErrorCode::kInvalidArgument,
                 "safetensors header: " + std::move(why));
  return false;
}

bool SafetensorsJson::FailTensor(const std::string& why) {
  return Fail("tensor \"" + entry_.name + "\": " + why);
}

bool SafetensorsJson::parse_error(std::size_t position, const std::string&,
                                  const nlohmann::json::exception&) {
  return Fail("it is no JSON object: byte " + std::to_string(position) +
              " of it makes no sense");
}

bool SafetensorsJson::Other() {
  switch (at_) {
    case At::kTopValue:
      return key_ == kMetadata ? Fail("__metadata__ is not an object")
                               : FailTensor("is not an object");
    case At::kMetadataValue:
      return Fail("__metadata__ \"" + key_ + "\" is not a string");
    case At::kShape: return FailTensor("a shape that is no list of sizes");
    case At::kOffsets: return FailTensor("data_offsets that are no offsets");
    case At::kTensorValue:
      return FailTensor("is not {dtype, shape, data_offsets}");
    default: return Fail("it is no JSON object");
  }
}

bool SafetensorsJson::start_object(std::size_t) {
  if (at_ == At::kBegin) {
    at_ = At::kTop;
    return true;
  }
  if (at_ != At::kTopValue) return Other();
  at_ = key_ == kMetadata ? At::kMetadata : At::kTensor;
  return true;
}

bool SafetensorsJson::key(string_t& name) {
  const auto twice = [this, &name] {
    return Fail("the key \"" + name + "\" appears twice");
  };
  if (at_ == At::kTop) {
    key_ = name;
    at_ = At::kTopValue;
    if (name == kMetadata) {
      if (has_metadata_) return twice();
      has_metadata_ = true;
      return true;
    }
    if (!names_.insert(name).second) return twice();
    entry_ = {};
    entry_.name = std::move(name);
    has_dtype_ = has_shape_ = has_offsets_ = false;
    offsets_ = 0;
    return true;
  }
  if (at_ == At::kMetadata) {
    if (header_.metadata.contains(name)) return twice();
    key_ = std::move(name);
    at_ = At::kMetadataValue;
    return true;
  }
  bool* has = nullptr;
  if (name == "dtype") {
    has = &has_dtype_;
    field_ = Field::kDType;
  } else if (name == "shape") {
    has = &has_shape_;
    field_ = Field::kShape;
  } else if (name == "data_offsets") {
    has = &has_offsets_;
    field_ = Field::kOffsets;
  } else {
    return FailTensor("is not {dtype, shape, data_offsets}");
  }
  if (std::exchange(*has, true)) return twice();
  at_ = At::kTensorValue;
  return true;
}

bool SafetensorsJson::null() {
  // No metadata, as the reference implementation takes it.
  if (at_ != At::kTopValue || key_ != kMetadata) return Other();
  at_ = At::kTop;
  return true;
}

bool SafetensorsJson::string(string_t& value) {
  if (at_ == At::kMetadataValue) {
    header_.metadata[std::move(key_)] = std::move(value);
    at_ = At::kMetadata;
    return true;
  }
  if (at_ != At::kTensorValue || field_ != Field::kDType) return Other();
  const std::optional<DType> dtype = DTypeFromSafetensorsName(value);
  if (!dtype) {
    error_ = Error(ErrorCode::kUnsupported, "safetensors header: tensor \"" +
                                                entry_.name + "\": the dtype " +
                                                value + " is not read here");
    return false;
  }
  entry_.dtype = *dtype;
  at_ = At::kTensor;
  return true;
}

bool SafetensorsJson::start_array(std::size_t) {
  if (at_ != At::kTensorValue || field_ == Field::kDType) return Other();
  at_ = field_ == Field::kShape ? At::kShape : At::kOffsets;
  return true;
}

bool SafetensorsJson::number_unsigned(number_unsigned_t value) {
  if (value > kMaxSize) return Other();
  if (at_ == At::kShape) {
    if (entry_.shape.size() == kMaxDimensions) {
      return FailTensor("more dimensions than " +
                        std::to_string(kMaxDimensions));
    }
    entry_.shape.push_back(static_cast<std::int64_t>(value));
    return true;
  }
  if (at_ == At::kOffsets && offsets_ < 2) {
    (offsets_++ == 0 ? entry_.begin : entry_.end) = value;
    return true;
  }
  return Other();
}

bool SafetensorsJson::end_array() {
  if (at_ == At::kOffsets && offsets_ != 2) return Other();
  at_ = At::kTensor;
  return true;
}

bool SafetensorsJson::end_object() {
  if (at_ == At::kTop) {
    at_ = At::kEnd;
    return true;
  }
  if (at_ == At::kTensor) {
    if (!has_dtype_ || !has_shape_ || !has_offsets_) {
      return FailTensor("is not {dtype, shape, data_offsets}");
    }
    header_.tensors.push_back(std::move(entry_));
  }
  at_ = At::kTop;
  return true;
}

}  // namespace ckptfs
