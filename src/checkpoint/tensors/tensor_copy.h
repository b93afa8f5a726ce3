// TensorCopy: elements from one tensor's memory to another's.
#pragma once

#include <ckptfs/checkpoint/tensor_view.h>

#include <cstdint>
#include <utility>

namespace ckptfs {

// Element by element, each through its own strides; the memory must not
// overlap. REQUIRES: the same dtype and shape, both inside their loaded
// storages (CheckBounds).
void CopyElements(const TensorView& from, const TensorView& to);

// [begin, end) of the storage's bytes, from the first element to the last;
// empty without elements. REQUIRES: CheckBounds.
std::pair<std::uint64_t, std::uint64_t> ByteExtent(const TensorView& tensor);

}  // namespace ckptfs
