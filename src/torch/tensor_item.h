// TensorItem: the tensor in a value of a state dict.
#pragma once

#include <ckptfs/checkpoint/value.h>

#include <optional>

namespace ckptfs::libtorch {

// Of a tensor, or of a Parameter around one as torch.save writes it
// (torch._utils._rebuild_parameter(data, requires_grad, hooks)). Nullopt:
// neither.
inline std::optional<TensorView> TensorItem(const Value& value) {
  if (const TensorView* tensor = value.AsTensor()) return *tensor;
  const Object* object = value.AsObject();
  if (object == nullptr || object->args.size() < 2 ||
      !object->Is("torch._utils", "_rebuild_parameter")) {
    return std::nullopt;
  }
  const TensorView* data = object->args[0].AsTensor();
  if (data == nullptr) return std::nullopt;
  TensorView tensor = *data;
  tensor.requires_grad = object->args[1].AsBool().value_or(false);
  return tensor;
}

}  // namespace ckptfs::libtorch
