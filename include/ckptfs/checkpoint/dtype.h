// DType: the element types of tensors, and what each format calls them. One
// table for all of them.
#pragma once

#include <ckptfs/export.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace ckptfs {

enum class DType : std::uint8_t {
  kBool,
  kUInt8,
  kInt8,
  kInt16,
  kInt32,
  kInt64,
  kUInt16,
  kUInt32,
  kUInt64,
  kFloat16,
  kBFloat16,
  kFloat32,
  kFloat64,
  kComplex32,
  kComplex64,
  kComplex128,
  kFloat8E4M3FN,
  kFloat8E5M2,
  kFloat8E4M3FNUZ,
  kFloat8E5M2FNUZ,
  kFloat8E8M0FNU,
  kFloat4E2M1FNX2,  // two elements a byte; counted by the byte, as torch does
  kQInt8,
  kQUInt8,
  kQInt32,
  kQUInt4x2,
  kQUInt2x4,
};

struct DTypeInfo {
  DType dtype;
  // The attribute of the torch module: "float32".
  std::string_view torch_name;
  std::size_t bytes;  // per element
  // The legacy class under `torch` by which data.pkl names a storage of the
  // type: "FloatStorage". Empty: the type came later, its storages are
  // torch.storage.UntypedStorage and torch._utils._rebuild_tensor_v3 carries
  // the dtype (torch 2.13, torch/_tensor.py, Tensor._reduce_ex_internal).
  std::string_view storage_class;
  // Empty: safetensors has no such type.
  std::string_view safetensors_name;
};

CKPTFS_EXPORT const DTypeInfo& InfoOf(DType dtype);
inline std::size_t SizeOf(DType dtype) { return InfoOf(dtype).bytes; }

// Nullopt: no such name.
CKPTFS_EXPORT std::optional<DType> DTypeFromTorchName(std::string_view name);
CKPTFS_EXPORT std::optional<DType> DTypeFromStorageClass(std::string_view name);
CKPTFS_EXPORT std::optional<DType> DTypeFromSafetensorsName(
    std::string_view name);

}  // namespace ckptfs
