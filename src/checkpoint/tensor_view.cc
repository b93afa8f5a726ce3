#include <ckptfs/checkpoint/tensor_view.h>

namespace ckptfs {

std::int64_t TensorView::numel() const {
  std::int64_t n = 1;
  for (const std::int64_t size : shape) n *= size;
  return n;
}

bool TensorView::contiguous() const {
  std::int64_t expected = 1;
  if (numel() == 0) return true;
  for (std::size_t i = shape.size(); i-- > 0;) {
    if (shape[i] != 1 && strides[i] != expected) return false;
    expected *= shape[i];
  }
  return true;
}

std::span<std::byte> TensorView::bytes() const {
  const std::size_t element = SizeOf(dtype);
  return storage->memory.subspan(static_cast<std::size_t>(offset) * element,
                                 static_cast<std::size_t>(numel()) * element);
}

std::vector<std::int64_t> ContiguousStrides(
    std::span<const std::int64_t> shape) {
  std::vector<std::int64_t> strides(shape.size());
  std::int64_t next = 1;
  for (std::size_t i = shape.size(); i-- > 0;) {
    strides[i] = next;
    // As torch: a dimension of size 0 counts as 1.
    if (shape[i] > 1) next *= shape[i];
  }
  return strides;
}

Result<void> CheckBounds(const TensorView& tensor) {
  const auto bad = [](const std::string& why) {
    return Fail(ErrorCode::kInvalidArgument, why);
  };
  if (tensor.storage == nullptr) return bad("a tensor without a storage");
  if (tensor.shape.size() != tensor.strides.size()) {
    return bad("size has " + std::to_string(tensor.shape.size()) +
               " dimensions and stride " +
               std::to_string(tensor.strides.size()));
  }
  if (tensor.offset < 0) {
    return bad("offset " + std::to_string(tensor.offset));
  }
  bool empty = false;
  std::int64_t numel = 1;
  for (const std::int64_t size : tensor.shape) {
    if (size < 0) return bad("a dimension of size " + std::to_string(size));
    if (size == 0) empty = true;
    if (__builtin_mul_overflow(numel, size == 0 ? 1 : size, &numel)) {
      return bad("more elements than 2^63");
    }
  }
  std::int64_t last = tensor.offset;  // the last element that is reached
  for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
    if (tensor.strides[i] < 0) {
      return bad("stride " + std::to_string(tensor.strides[i]));
    }
    if (empty) continue;
    std::int64_t reach = 0;
    if (__builtin_mul_overflow(tensor.shape[i] - 1, tensor.strides[i],
                               &reach) ||
        __builtin_add_overflow(last, reach, &last)) {
      return bad("elements beyond 2^63");
    }
  }
  if (empty) return {};
  std::uint64_t end = 0;
  if (__builtin_mul_overflow(static_cast<std::uint64_t>(last) + 1,
                             SizeOf(tensor.dtype), &end) ||
      end > tensor.storage->bytes) {
    return bad("element " + std::to_string(last) + " lies behind the " +
               std::to_string(tensor.storage->bytes) + " bytes of the storage");
  }
  return {};
}

}  // namespace ckptfs
