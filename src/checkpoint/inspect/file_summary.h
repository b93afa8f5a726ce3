// FileSummary: what a checkpoint file says of itself, without its tensors'
// bytes.
#pragma once

#include <ckptfs/checkpoint/dtype.h>
#include <ckptfs/checkpoint/value.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace ckptfs {

struct TensorSummary {
  std::string name;
  DType dtype = DType::kFloat32;
  std::vector<std::int64_t> shape;
  std::uint64_t bytes = 0;  // of its elements
};

struct FileSummary {
  enum class Kind { kTorchSave, kSafetensors, kDcp };

  std::string name;
  Kind kind = Kind::kTorchSave;
  // Of the file; of a DCP folder, of the files that its metadata names.
  std::uint64_t file_bytes = 0;
  // Facts of the format, in the order to be shown: {"alignment", "64"}.
  std::vector<std::pair<std::string, std::string>> format;
  std::vector<TensorSummary> tensors;
  // The bytes that all of them need, shared ones once.
  std::uint64_t stored_bytes = 0;
  // What lies beside the tensors, at the top: key, and type and value as far as
  // it is short.
  std::vector<std::pair<std::string, std::string>> others;
  // What torch.load(weights_only=True) refuses, in order of appearance.
  std::vector<Global> unsafe_globals;
};

}  // namespace ckptfs
