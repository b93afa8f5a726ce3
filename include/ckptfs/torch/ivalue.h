// IValues as Values and back: scalars, strings, containers, tensors.
#pragma once

#include <ATen/core/ivalue.h>
#include <ckptfs/checkpoint/value.h>
#include <ckptfs/export.h>
#include <ckptfs/result.h>
#include <ckptfs/torch/tensor_converter.h>

namespace ckptfs::libtorch {

// None, bool, int, float, complex, str, device, list, tuple, dict and tensors;
// an undefined tensor is None. A container that is reached twice stays one.
// kUnsupported, with the kind: everything else. kInvalidArgument: deeper than
// 200 levels, as in containers that contain themselves.
CKPTFS_EXPORT Result<Value> FromIValue(const c10::IValue& value,
                                       TensorConverter& tensors);

// The same kinds, and torch.Size as a list of ints, Parameters as their
// tensors. Lists have the element type that all of their items have (int,
// float, bool, str, Tensor), else Any; dicts likewise, in keys and values.
// kUnsupported, with the type: what an IValue cannot be (bytes, sets, classes,
// ints beyond 64 bits, keys that are neither str, int, float nor bool), and
// tensors of the kinds that TensorConverter does not serve.
CKPTFS_EXPORT Result<c10::IValue> ToIValue(const Value& value,
                                           TensorConverter& tensors);

}  // namespace ckptfs::libtorch
