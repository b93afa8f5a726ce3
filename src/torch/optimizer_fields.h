// Fields: items of an optimizer's dicts, by name and type.
#pragma once

#include <ATen/ATen.h>
#include <ckptfs/checkpoint/value.h>
#include <ckptfs/result.h>
#include <ckptfs/torch/tensor_converter.h>

#include <optional>
#include <string>

#include "torch/tensor_item.h"

namespace ckptfs::libtorch {

// Errors are kInvalidArgument and name the key.
class Fields {
 public:
  Fields(const Dict& dict, TensorConverter& tensors)
      : dict_(dict), tensors_(tensors) {}

  // Unset where there is no such key, or None.
  Result<std::optional<double>> Number(const char* key) {
    return NumberOf(key, dict_.Find(key));
  }
  Result<std::optional<double>> NumberOf(const std::string& what,
                                         const Value* value) {
    if (value == nullptr || value->is_none()) return std::nullopt;
    if (const auto v = value->AsDouble()) return *v;
    if (const auto v = value->AsInt()) return static_cast<double>(*v);
    // Python allows tensors of one element in most places.
    if (const std::optional<TensorView> view = TensorItem(*value)) {
      CKPTFS_ASSIGN_OR_RETURN(const at::Tensor tensor,
                              tensors_.ToTensor(*view));
      if (tensor.numel() == 1) return tensor.item<double>();
    }
    return Fail(ErrorCode::kInvalidArgument,
                what + " is a " + value->TypeName() + ", not a number");
  }
  Result<std::optional<bool>> Flag(const char* key) {
    const Value* value = dict_.Find(key);
    if (value == nullptr || value->is_none()) return std::nullopt;
    if (const auto v = value->AsBool()) return *v;
    return Fail(
        ErrorCode::kInvalidArgument,
        std::string(key) + " is a " + value->TypeName() + ", not a bool");
  }
  // As the parameter is: its dtype, its device, its shape. Undefined where
  // there is none.
  Result<at::Tensor> TensorLike(const char* key, const at::Tensor& parameter) {
    const Value* value = dict_.Find(key);
    if (value == nullptr || value->is_none()) return at::Tensor();
    const std::optional<TensorView> view = TensorItem(*value);
    if (!view) {
      return Fail(
          ErrorCode::kInvalidArgument,
          std::string(key) + " is a " + value->TypeName() + ", not a tensor");
    }
    Result<at::Tensor> tensor = tensors_.ToTensor(*view);
    if (!tensor) return Fail(tensor.error().WithContext(key));
    if (tensor->sizes() != parameter.sizes()) {
      return Fail(ErrorCode::kInvalidArgument,
                  std::string(key) + " has another shape than its parameter");
    }
    return parameter.is_floating_point()
               ? tensor->to(parameter.device(), parameter.scalar_type())
               : tensor->to(parameter.device());
  }

 private:
  const Dict& dict_;
  TensorConverter& tensors_;
};

}  // namespace ckptfs::libtorch
