#include "checkpoint/tensors/tensor_copy.h"

#include <cstddef>
#include <cstring>
#include <vector>

namespace ckptfs {

std::pair<std::uint64_t, std::uint64_t> ByteExtent(const TensorView& tensor) {
  const std::uint64_t element = SizeOf(tensor.dtype);
  const auto begin = static_cast<std::uint64_t>(tensor.offset) * element;
  if (tensor.numel() == 0) return {begin, begin};
  std::int64_t last = tensor.offset;
  for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
    last += (tensor.shape[i] - 1) * tensor.strides[i];
  }
  return {begin, (static_cast<std::uint64_t>(last) + 1) * element};
}

void CopyElements(const TensorView& from, const TensorView& to) {
  const std::size_t element = SizeOf(from.dtype);
  if (from.numel() == 0) return;
  const std::byte* source = from.storage->memory.data() + from.offset * element;
  std::byte* target = to.storage->memory.data() + to.offset * element;
  // The innermost dimensions that are dense on both sides make one run.
  std::size_t outer = from.shape.size();
  std::size_t run = 1;
  while (outer > 0) {
    const std::size_t i = outer - 1;
    const auto dense = static_cast<std::int64_t>(run);
    if (from.shape[i] != 1 &&
        (from.strides[i] != dense || to.strides[i] != dense)) {
      break;
    }
    run *= static_cast<std::size_t>(from.shape[i]);
    outer = i;
  }
  std::vector<std::int64_t> index(outer, 0);
  while (true) {
    std::memcpy(target, source, run * element);
    std::size_t i = outer;
    for (; i > 0; --i) {
      const std::size_t d = i - 1;
      const auto step = static_cast<std::int64_t>(element);
      if (++index[d] < from.shape[d]) {
        source += from.strides[d] * step;
        target += to.strides[d] * step;
        break;
      }
      index[d] = 0;
      source -= (from.shape[d] - 1) * from.strides[d] * step;
      target -= (to.shape[d] - 1) * to.strides[d] * step;
    }
    if (i == 0) return;
  }
}

}  // namespace ckptfs
