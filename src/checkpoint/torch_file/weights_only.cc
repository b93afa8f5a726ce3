#include "checkpoint/torch_file/weights_only.h"

#include <ckptfs/checkpoint/dtype.h>

#include <algorithm>
#include <array>
#include <string_view>

namespace ckptfs {

namespace {

struct Allowed {
  std::string_view module;
  std::string_view name;
};

constexpr Allowed kAllowed[] = {
    {"collections", "OrderedDict"},
    {"collections", "Counter"},
    {"builtins", "bytearray"},
    {"builtins", "set"},
    {"builtins", "complex"},
    {"_codecs", "encode"},
    {"torch.nn.parameter", "Parameter"},
    {"torch.serialization", "_get_layout"},
    {"torch", "Size"},
    {"torch", "Tensor"},
    {"torch", "device"},
    {"torch.storage", "UntypedStorage"},
    {"torch.storage", "TypedStorage"},
    {"torch", "per_tensor_affine"},
    {"torch", "per_tensor_symmetric"},
    {"torch", "per_channel_affine"},
    {"torch", "per_channel_symmetric"},
    {"torch", "per_channel_affine_float_qparams"},
    {"torch._utils", "_rebuild_parameter"},
    {"torch._utils", "_rebuild_parameter_with_state"},
    {"torch._utils", "_rebuild_qtensor"},
    {"torch._utils", "_rebuild_tensor"},
    {"torch._utils", "_rebuild_tensor_v2"},
    {"torch._utils", "_rebuild_tensor_v3"},
    {"torch._utils", "_rebuild_sparse_tensor"},
    {"torch._utils", "_rebuild_meta_tensor_no_storage"},
    {"torch._utils", "_rebuild_nested_tensor"},
    {"torch._utils", "_rebuild_wrapper_subclass"},
    {"torch._utils", "_rebuild_device_tensor_from_numpy"},
    {"torch._utils", "_rebuild_device_tensor_from_cpu_tensor"},
    {"torch._tensor", "_rebuild_from_type_v2"},
};

// Integers of 1 to 7 bits; nothing else here computes with them.
bool IsNarrowInteger(std::string_view name) {
  if (name.starts_with('u')) name.remove_prefix(1);
  return name.size() == 4 && name.starts_with("int") && name[3] >= '1' &&
         name[3] <= '7';
}

// "FloatTensor" and its like, on any device, dense or sparse.
bool IsTensorClass(const Global& global) {
  constexpr std::array<std::string_view, 10> kKinds = {
      "BFloat16", "Bool", "Byte", "Char", "Double",
      "Float",    "Half", "Int",  "Long", "Short"};
  constexpr std::string_view kTensor = "Tensor";
  std::string_view name = global.name;
  if (!name.ends_with(kTensor)) return false;
  name.remove_suffix(kTensor.size());
  return std::find(kKinds.begin(), kKinds.end(), name) != kKinds.end() &&
         (global.module == "torch" || global.module == "torch.cuda" ||
          global.module == "torch.sparse" ||
          global.module == "torch.cuda.sparse");
}

bool IsBlockedModule(std::string_view module) {
  constexpr std::array<std::string_view, 4> kBlocked = {"sys", "os", "posix",
                                                        "nt"};
  const std::string_view top = module.substr(0, module.find('.'));
  return std::find(kBlocked.begin(), kBlocked.end(), top) != kBlocked.end();
}

}  // namespace

bool IsAllowedUnderWeightsOnly(const Global& global,
                               const std::vector<Global>& extra) {
  if (IsBlockedModule(global.module)) return false;
  if (global.module == "torch" &&
      (DTypeFromTorchName(global.name) || DTypeFromStorageClass(global.name) ||
       IsNarrowInteger(global.name))) {
    return true;
  }
  if (global.module == "torch.cuda" && DTypeFromStorageClass(global.name)) {
    return true;
  }
  if (IsTensorClass(global)) return true;
  for (const Allowed& a : kAllowed) {
    if (a.module == global.module && a.name == global.name) return true;
  }
  return std::find(extra.begin(), extra.end(), global) != extra.end();
}

}  // namespace ckptfs
