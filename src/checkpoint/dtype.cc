#include <ckptfs/checkpoint/dtype.h>

#include <array>

namespace ckptfs {

namespace {

// torch 2.13: torch/storage.py (_dtype_to_storage_type_map), c10/core/
// ScalarType.h; safetensors 0.8: src/tensor.rs (Dtype). In the order of the
// enum.
constexpr std::array kTable = {
    DTypeInfo{DType::kBool, "bool", 1, "BoolStorage", "BOOL"},
    DTypeInfo{DType::kUInt8, "uint8", 1, "ByteStorage", "U8"},
    DTypeInfo{DType::kInt8, "int8", 1, "CharStorage", "I8"},
    DTypeInfo{DType::kInt16, "int16", 2, "ShortStorage", "I16"},
    DTypeInfo{DType::kInt32, "int32", 4, "IntStorage", "I32"},
    DTypeInfo{DType::kInt64, "int64", 8, "LongStorage", "I64"},
    DTypeInfo{DType::kUInt16, "uint16", 2, "", "U16"},
    DTypeInfo{DType::kUInt32, "uint32", 4, "", "U32"},
    DTypeInfo{DType::kUInt64, "uint64", 8, "", "U64"},
    DTypeInfo{DType::kFloat16, "float16", 2, "HalfStorage", "F16"},
    DTypeInfo{DType::kBFloat16, "bfloat16", 2, "BFloat16Storage", "BF16"},
    DTypeInfo{DType::kFloat32, "float32", 4, "FloatStorage", "F32"},
    DTypeInfo{DType::kFloat64, "float64", 8, "DoubleStorage", "F64"},
    DTypeInfo{DType::kComplex32, "complex32", 4, "", ""},
    DTypeInfo{DType::kComplex64, "complex64", 8, "ComplexFloatStorage", "C64"},
    DTypeInfo{DType::kComplex128, "complex128", 16, "ComplexDoubleStorage", ""},
    DTypeInfo{DType::kFloat8E4M3FN, "float8_e4m3fn", 1, "", "F8_E4M3"},
    DTypeInfo{DType::kFloat8E5M2, "float8_e5m2", 1, "", "F8_E5M2"},
    DTypeInfo{DType::kFloat8E4M3FNUZ, "float8_e4m3fnuz", 1, "", "F8_E4M3FNUZ"},
    DTypeInfo{DType::kFloat8E5M2FNUZ, "float8_e5m2fnuz", 1, "", "F8_E5M2FNUZ"},
    DTypeInfo{DType::kFloat8E8M0FNU, "float8_e8m0fnu", 1, "", "F8_E8M0"},
    DTypeInfo{DType::kFloat4E2M1FNX2, "float4_e2m1fn_x2", 1, "", "F4"},
    DTypeInfo{DType::kQInt8, "qint8", 1, "QInt8Storage", ""},
    DTypeInfo{DType::kQUInt8, "quint8", 1, "QUInt8Storage", ""},
    DTypeInfo{DType::kQInt32, "qint32", 4, "QInt32Storage", ""},
    DTypeInfo{DType::kQUInt4x2, "quint4x2", 1, "QUInt4x2Storage", ""},
    DTypeInfo{DType::kQUInt2x4, "quint2x4", 1, "QUInt2x4Storage", ""},
};

constexpr bool InOrder() {
  for (std::size_t i = 0; i < kTable.size(); ++i) {
    if (static_cast<std::size_t>(kTable[i].dtype) != i) return false;
  }
  return true;
}
static_assert(InOrder());

std::optional<DType> Find(std::string_view name,
                          std::string_view DTypeInfo::* column) {
  if (name.empty()) return std::nullopt;
  for (const DTypeInfo& info : kTable) {
    if (info.*column == name) return info.dtype;
  }
  return std::nullopt;
}

}  // namespace

const DTypeInfo& InfoOf(DType dtype) {
  return kTable[static_cast<std::size_t>(dtype)];
}

std::optional<DType> DTypeFromTorchName(std::string_view name) {
  return Find(name, &DTypeInfo::torch_name);
}

std::optional<DType> DTypeFromStorageClass(std::string_view name) {
  return Find(name, &DTypeInfo::storage_class);
}

std::optional<DType> DTypeFromSafetensorsName(std::string_view name) {
  return Find(name, &DTypeInfo::safetensors_name);
}

}  // namespace ckptfs
