// TensorConverter: torch tensors as TensorViews and back, without copies where
// both are host memory.
#pragma once

#include <ATen/core/Tensor.h>
#include <ckptfs/checkpoint/tensor_view.h>
#include <ckptfs/export.h>
#include <ckptfs/result.h>

#include <memory>
#include <unordered_map>

namespace ckptfs::libtorch {

// One object for what belongs together: tensors that share a storage on one
// side share one on the other, as long as the same converter takes them. It
// keeps the storages of everything it has converted alive.
//
// Served are dense tensors of every dtype in ckptfs/checkpoint/dtype.h but the
// quantized ones. kUnsupported: sparse, quantized, nested and meta tensors,
// those of other layouts, and of dtypes that no checkpoint carries (bits8 ...).
//
// Not thread-safe. Never throws: what libtorch throws comes back as an error
// (kResourceExhausted, kInternal).
class CKPTFS_EXPORT TensorConverter {
 public:
  TensorConverter() = default;
  TensorConverter(TensorConverter&&) = default;
  TensorConverter& operator=(TensorConverter&&) = default;

  // Shape, strides, offset and requires_grad are those of the tensor; the bytes
  // are those of its whole storage, as torch.save writes it. On the CPU the
  // view has the tensor's own memory: changes of one are seen in the other.
  // From other devices the storage is copied, blocking; its location keeps the
  // device ("cuda:0"). Lazily conjugated and negated tensors are materialised.
  Result<TensorView> FromTensor(const at::Tensor& tensor);

  // A leaf tensor on the device that the storage's location names; for "cpu"
  // on the view's own memory. kInvalidArgument: elements outside of the
  // storage, a storage that was not loaded (LoadOptions::filter), a location
  // that torch does not know, requires_grad of integers.
  Result<at::Tensor> ToTensor(const TensorView& tensor);

  // Whether FromTensor had to copy: what is loaded into such a view does not
  // reach the tensor.
  bool copied() const { return copied_; }

 private:
  Result<std::shared_ptr<Storage>> FromStorage(const c10::Storage& storage);
  Result<c10::Storage> ToStorage(const std::shared_ptr<Storage>& storage);

  // INVARIANT: the address of a key stays taken; the Storage's owner holds it.
  std::unordered_map<const c10::StorageImpl*, std::shared_ptr<Storage>>
      from_torch_;
  struct Converted {
    std::shared_ptr<Storage> from;  // so that its address stays taken
    c10::Storage to;
  };
  std::unordered_map<const Storage*, Converted> to_torch_;
  bool copied_ = false;
};

// Of one tensor alone.
CKPTFS_EXPORT Result<TensorView> FromTensor(const at::Tensor& tensor);
CKPTFS_EXPORT Result<at::Tensor> ToTensor(const TensorView& tensor);

}  // namespace ckptfs::libtorch
