// TensorAt: a tensor of Python's as the engine sees it.
#pragma once

#include <ckptfs/checkpoint/tensor_view.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace ckptfs::python {

// `dtype` as torch's module names it; a view of a storage of its own.
// kUnsupported: no such dtype here.
inline Result<TensorView> TensorAt(const std::string& dtype,
                                   std::vector<std::int64_t> shape,
                                   std::vector<std::int64_t> strides,
                                   std::uintptr_t address, std::uint64_t bytes,
                                   std::shared_ptr<void> owner) {
  const std::optional<DType> known = DTypeFromTorchName(dtype);
  if (!known) {
    return Fail(ErrorCode::kUnsupported, "torch." + dtype + " is not known");
  }
  TensorView tensor;
  tensor.dtype = *known;
  tensor.shape = std::move(shape);
  tensor.strides = std::move(strides);
  tensor.storage = std::make_shared<Storage>();
  tensor.storage->bytes = bytes;
  if (address != 0) {
    tensor.storage->memory = {reinterpret_cast<std::byte*>(address), bytes};
  }
  tensor.storage->owner = std::move(owner);
  return tensor;
}

}  // namespace ckptfs::python
