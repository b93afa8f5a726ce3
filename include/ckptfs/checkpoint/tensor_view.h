// TensorView and Storage: tensors as memory, without libtorch.
#pragma once

#include <ckptfs/checkpoint/dtype.h>
#include <ckptfs/export.h>
#include <ckptfs/result.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace ckptfs {

// The memory that one or several tensors are views of; the unit in which
// torch.save writes. Shared storages are the same object. Immutable but for the
// bytes it points to.
struct Storage {
  std::uint64_t bytes = 0;
  // Where the bytes are, once they are: `bytes` long, or empty for a storage
  // that was described but not loaded. Kept alive by `owner`.
  std::span<std::byte> memory;
  std::shared_ptr<void> owner;
  // The device as torch names it: "cpu", "cuda:0".
  std::string location = "cpu";
  // The record it is in: "0" for `data/0`; empty where there is none.
  std::string key;
};

// Shape, strides and offset count elements, as in torch.
struct CKPTFS_EXPORT TensorView {
  DType dtype = DType::kFloat32;
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides;  // as many as dimensions
  std::int64_t offset = 0;            // into the storage
  bool requires_grad = false;
  std::shared_ptr<Storage> storage;

  // Elements; 1 for a scalar.
  std::int64_t numel() const;
  // Row-major without gaps; always true without elements.
  bool contiguous() const;
  // The bytes of a contiguous tensor. REQUIRES: contiguous(), loaded.
  std::span<std::byte> bytes() const;
};

// Row-major strides.
CKPTFS_EXPORT std::vector<std::int64_t> ContiguousStrides(
    std::span<const std::int64_t> shape);

// kInvalidArgument (with the reason) unless every element lies inside the
// storage: none at all, sizes that are negative or overflow, an offset past the
// end.
CKPTFS_EXPORT Result<void> CheckBounds(const TensorView& tensor);

}  // namespace ckptfs
