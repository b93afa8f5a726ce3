#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <ckptfs/torch/tensor_converter.h>

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "torch/guarded.h"
#include "torch/scalar_types.h"

namespace ckptfs::libtorch {

namespace {

tl::unexpected<Error> Unsupported(const std::string& what) {
  return Fail(ErrorCode::kUnsupported,
              what + " tensors are not served: convert it to a dense one");
}

// The bytes of a whole storage, as a tensor on its device.
at::Tensor BytesOf(const c10::Storage& storage) {
  at::Tensor bytes =
      at::empty({0}, at::dtype(at::kByte).device(storage.device()));
  bytes.set_(storage, 0, {static_cast<std::int64_t>(storage.nbytes())}, {1});
  return bytes;
}

Result<c10::Device> DeviceOf(const Storage& storage) {
  try {
    return c10::Device(storage.location);
  } catch (const c10::Error&) {
    return Fail(ErrorCode::kInvalidArgument,
                "storage " + storage.key + " is to be on \"" +
                    storage.location +
                    "\", which torch does not know; use map_location");
  }
}

}  // namespace

Result<std::shared_ptr<Storage>> TensorConverter::FromStorage(
    const c10::Storage& storage) {
  const auto known = from_torch_.find(storage.unsafeGetStorageImpl());
  if (known != from_torch_.end()) return known->second;

  struct Owner {
    c10::Storage original;  // keeps its address taken
    c10::Storage host;
  };
  const auto owner = std::make_shared<Owner>();
  owner->original = storage;
  owner->host = storage;
  auto out = std::make_shared<Storage>();
  if (!storage.device().is_cpu()) {
    owner->host = BytesOf(storage).to(at::kCPU).storage();
    out->location = storage.device().str();
    copied_ = true;
  }
  out->bytes = storage.nbytes();
  out->memory = std::span(static_cast<std::byte*>(owner->host.mutable_data()),
                          storage.nbytes());
  out->owner = owner;
  from_torch_.emplace(storage.unsafeGetStorageImpl(), out);
  return out;
}

Result<TensorView> TensorConverter::FromTensor(const at::Tensor& tensor) {
  if (!tensor.defined()) {
    return Fail(ErrorCode::kInvalidArgument, "an undefined tensor");
  }
  return Guarded("convert a tensor", [&]() -> Result<TensorView> {
    if (tensor.is_quantized()) return Unsupported("quantized");
    if (tensor.is_nested()) return Unsupported("nested");
    if (tensor.layout() != at::kStrided) return Unsupported("sparse");
    if (tensor.is_meta() || !tensor.has_storage()) {
      return Unsupported("meta and virtual");
    }
    const std::optional<DType> dtype = DTypeOf(tensor.scalar_type());
    if (!dtype) return Unsupported(c10::toString(tensor.scalar_type()));
    const c10::NoGradGuard no_grad;
    at::Tensor plain = tensor;
    if (tensor.is_conj() || tensor.is_neg()) {
      plain = tensor.resolve_conj().resolve_neg();
      copied_ = true;
    }
    TensorView view;
    view.dtype = *dtype;
    view.shape = plain.sizes().vec();
    view.strides = plain.strides().vec();
    view.offset = plain.storage_offset();
    view.requires_grad = tensor.requires_grad();
    CKPTFS_ASSIGN_OR_RETURN(view.storage, FromStorage(plain.storage()));
    return view;
  });
}

Result<c10::Storage> TensorConverter::ToStorage(
    const std::shared_ptr<Storage>& storage) {
  const auto known = to_torch_.find(storage.get());
  if (known != to_torch_.end()) return known->second.to;
  CKPTFS_ASSIGN_OR_RETURN(const c10::Device device, DeviceOf(*storage));
  // What owns the memory lives as long as torch's storage.
  auto* const owner = new std::shared_ptr<void>(storage->owner);
  c10::DataPtr data(
      storage->memory.data(), owner,
      [](void* context) {
        delete static_cast<std::shared_ptr<void>*>(context);
      },
      at::kCPU);
  c10::Storage made(c10::Storage::use_byte_size_t(), storage->bytes,
                    std::move(data));
  if (!device.is_cpu()) made = BytesOf(made).to(device).storage();
  to_torch_.emplace(storage.get(), Converted{storage, made});
  // On its way back it is what it was.
  if (device.is_cpu()) {
    from_torch_.emplace(made.unsafeGetStorageImpl(), storage);
  }
  return made;
}

Result<at::Tensor> TensorConverter::ToTensor(const TensorView& tensor) {
  if (tensor.storage == nullptr ||
      tensor.storage->memory.size() != tensor.storage->bytes) {
    return Fail(ErrorCode::kInvalidArgument,
                "the tensor's bytes were not loaded: a filter left it out");
  }
  CKPTFS_RETURN_IF_ERROR(CheckBounds(tensor));
  const std::optional<c10::ScalarType> type = ScalarTypeOf(tensor.dtype);
  if (!type) return Unsupported("quantized");
  if (tensor.requires_grad && !c10::isFloatingType(*type) &&
      !c10::isComplexType(*type)) {
    return Fail(ErrorCode::kInvalidArgument,
                "a tensor of " + std::string(InfoOf(tensor.dtype).torch_name) +
                    " that requires a gradient");
  }
  return Guarded("convert a tensor", [&]() -> Result<at::Tensor> {
    const c10::NoGradGuard no_grad;
    CKPTFS_ASSIGN_OR_RETURN(const c10::Storage storage,
                            ToStorage(tensor.storage));
    at::Tensor out = at::empty({0}, at::dtype(*type).device(storage.device()));
    out.set_(storage, tensor.offset, tensor.shape, tensor.strides);
    out.set_requires_grad(tensor.requires_grad);
    return out;
  });
}

Result<TensorView> FromTensor(const at::Tensor& tensor) {
  return TensorConverter().FromTensor(tensor);
}

Result<at::Tensor> ToTensor(const TensorView& tensor) {
  return TensorConverter().ToTensor(tensor);
}

}  // namespace ckptfs::libtorch
