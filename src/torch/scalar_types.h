// ScalarTypes: torch's element types and ours, in one table.
#pragma once

#include <c10/core/ScalarType.h>
#include <ckptfs/checkpoint/dtype.h>

#include <optional>
#include <utility>

namespace ckptfs::libtorch {

// Quantized types are left out: their tensors carry more than elements.
inline constexpr std::pair<c10::ScalarType, DType> kScalarTypes[] = {
    {c10::ScalarType::Bool, DType::kBool},
    {c10::ScalarType::Byte, DType::kUInt8},
    {c10::ScalarType::Char, DType::kInt8},
    {c10::ScalarType::Short, DType::kInt16},
    {c10::ScalarType::Int, DType::kInt32},
    {c10::ScalarType::Long, DType::kInt64},
    {c10::ScalarType::UInt16, DType::kUInt16},
    {c10::ScalarType::UInt32, DType::kUInt32},
    {c10::ScalarType::UInt64, DType::kUInt64},
    {c10::ScalarType::Half, DType::kFloat16},
    {c10::ScalarType::BFloat16, DType::kBFloat16},
    {c10::ScalarType::Float, DType::kFloat32},
    {c10::ScalarType::Double, DType::kFloat64},
    {c10::ScalarType::ComplexHalf, DType::kComplex32},
    {c10::ScalarType::ComplexFloat, DType::kComplex64},
    {c10::ScalarType::ComplexDouble, DType::kComplex128},
    {c10::ScalarType::Float8_e4m3fn, DType::kFloat8E4M3FN},
    {c10::ScalarType::Float8_e5m2, DType::kFloat8E5M2},
    {c10::ScalarType::Float8_e4m3fnuz, DType::kFloat8E4M3FNUZ},
    {c10::ScalarType::Float8_e5m2fnuz, DType::kFloat8E5M2FNUZ},
    {c10::ScalarType::Float8_e8m0fnu, DType::kFloat8E8M0FNU},
    {c10::ScalarType::Float4_e2m1fn_x2, DType::kFloat4E2M1FNX2},
};

inline std::optional<DType> DTypeOf(c10::ScalarType type) {
  for (const auto& [torch, ours] : kScalarTypes) {
    if (torch == type) return ours;
  }
  return std::nullopt;
}

inline std::optional<c10::ScalarType> ScalarTypeOf(DType dtype) {
  for (const auto& [torch, ours] : kScalarTypes) {
    if (ours == dtype) return torch;
  }
  return std::nullopt;
}

}  // namespace ckptfs::libtorch
