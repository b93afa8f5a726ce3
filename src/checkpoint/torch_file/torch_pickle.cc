#include "checkpoint/torch_file/torch_pickle.h"

#include <optional>
#include <utility>

#include "checkpoint/torch_file/weights_only.h"

namespace ckptfs {

namespace {

tl::unexpected<Error> Bad(const std::string& what) {
  return Fail(ErrorCode::kInvalidArgument, what);
}

// Bytes of one element of a storage of that class; UntypedStorage counts bytes.
std::optional<std::size_t> ElementBytes(const Global& storage_class) {
  if ((storage_class.module == "torch" ||
       storage_class.module == "torch.storage") &&
      storage_class.name == "UntypedStorage") {
    return 1;
  }
  if (storage_class.module != "torch" && storage_class.module != "torch.cuda") {
    return std::nullopt;
  }
  const std::optional<DType> dtype = DTypeFromStorageClass(storage_class.name);
  if (!dtype) return std::nullopt;
  return SizeOf(*dtype);
}

Result<std::vector<std::int64_t>> Integers(const Value& value,
                                           const char* what) {
  const std::vector<Value>* items = nullptr;
  if (const Tuple* tuple = value.AsTuple()) items = &tuple->items;
  if (const Object* size = value.AsObject()) {
    // torch.Size((...))
    if (size->Is("torch", "Size") && size->args.size() == 1) {
      return Integers(size->args[0], what);
    }
  }
  if (items == nullptr) return Bad(std::string(what) + " is no tuple");
  std::vector<std::int64_t> out;
  for (const Value& item : *items) {
    const std::optional<std::int64_t> n = item.AsInt();
    if (!n) return Bad(std::string(what) + " holds something else than ints");
    out.push_back(*n);
  }
  return out;
}

constexpr std::string_view kTorchUtils = "torch._utils";

}  // namespace

Result<void> TorchPickle::CheckGlobal(const Global& global) {
  if (!weights_only_ || IsAllowedUnderWeightsOnly(global, safe_globals_)) {
    return {};
  }
  return Bad(global.module + "." + global.name +
             " is not allowed with weights_only; load with weights_only=false "
             "if you trust the file, or name it in safe_globals");
}

Result<Value> TorchPickle::Persistent(const Value& id) {
  const Tuple* tuple = id.AsTuple();
  if (tuple == nullptr || tuple->items.size() < 5) {
    return Bad(
        "a persistent id that is not ('storage', type, key, location, "
        "numel)");
  }
  const std::string* kind = tuple->items[0].AsString();
  const Global* type = tuple->items[1].AsGlobal();
  const std::string* key = tuple->items[2].AsString();
  const std::string* location = tuple->items[3].AsString();
  const std::optional<std::int64_t> numel = tuple->items[4].AsInt();
  if (kind == nullptr || *kind != "storage" || type == nullptr ||
      key == nullptr || location == nullptr || !numel) {
    return Bad(
        "a persistent id that is not ('storage', type, key, location, "
        "numel)");
  }
  const std::optional<std::size_t> element = ElementBytes(*type);
  if (!element) {
    return Bad("storage " + *key + " is of the unknown type " + type->module +
               "." + type->name);
  }
  std::uint64_t bytes = 0;
  if (*numel < 0 || __builtin_mul_overflow(static_cast<std::uint64_t>(*numel),
                                           *element, &bytes)) {
    return Bad("storage " + *key + " has " + std::to_string(*numel) +
               " elements");
  }
  std::shared_ptr<Storage>& storage = storages_[*key];
  if (storage == nullptr) {
    storage = std::make_shared<Storage>();
    storage->key = *key;
    storage->location = *location;
    storage->bytes = bytes;
  } else if (storage->bytes != bytes) {
    return Bad("storage " + *key + " is named with " + std::to_string(bytes) +
               " bytes and with " + std::to_string(storage->bytes));
  }
  return Value(StorageReference{*type, storage});
}

Result<Value> TorchPickle::Reduce(const Global& callable,
                                  const std::vector<Value>& args) {
  const bool v2 = callable.Is(kTorchUtils, "_rebuild_tensor_v2");
  const bool v3 = callable.Is(kTorchUtils, "_rebuild_tensor_v3");
  const bool v1 = callable.Is(kTorchUtils, "_rebuild_tensor");
  if (!v1 && !v2 && !v3) {
    return PickleHandler::Reduce(callable, args);
  }
  // (storage, offset, size, stride[, requires_grad, hooks[, dtype (v3)]
  // [, metadata]])
  const std::size_t needed = v1 ? 4 : v2 ? 6 : 7;
  if (args.size() < needed)
    return Bad(callable.name + " with too few arguments");
  // Bits that say how to look at the memory: lazily conjugated or negated
  // (torch._utils.set_tensor_metadata). Carried through as they are, since a
  // TensorView without them would have other values.
  if (!v1 && args.size() > needed) {
    const Dict* metadata = args[needed].AsDict();
    if (metadata == nullptr ? !args[needed].is_none() : metadata->size() > 0) {
      return PickleHandler::Reduce(callable, args);
    }
  }
  const StorageReference* storage = args[0].AsStorage();
  if (storage == nullptr)
    return Bad(callable.name + " of something else than a storage");
  TensorView tensor;
  tensor.storage = storage->storage;
  const std::string& key = tensor.storage->key;
  const std::optional<std::int64_t> offset = args[1].AsInt();
  if (!offset) return Bad("a tensor of storage " + key + " without an offset");
  tensor.offset = *offset;
  CKPTFS_ASSIGN_OR_RETURN(tensor.shape, Integers(args[2], "a tensor's size"));
  CKPTFS_ASSIGN_OR_RETURN(tensor.strides,
                          Integers(args[3], "a tensor's stride"));
  if (!v1) tensor.requires_grad = args[4].AsBool().value_or(false);
  if (v3) {
    const Global* dtype = args[6].AsGlobal();
    const std::optional<DType> known =
        dtype != nullptr && dtype->module == "torch"
            ? DTypeFromTorchName(dtype->name)
            : std::nullopt;
    if (!known)
      return Bad("a tensor of storage " + key + " of an unknown dtype");
    tensor.dtype = *known;
  } else {
    const std::optional<DType> dtype =
        DTypeFromStorageClass(storage->type.name);
    if (!dtype) {
      return Bad("a tensor of storage " + key + ", whose type " +
                 storage->type.name + " tells no dtype");
    }
    tensor.dtype = *dtype;
  }
  Result<void> inside = CheckBounds(tensor);
  if (!inside) {
    return Fail(inside.error().WithContext("a tensor of storage " + key));
  }
  return Value(std::move(tensor));
}

TensorView* TensorIn(const Value& value) {
  if (TensorView* tensor = value.AsTensor()) return tensor;
  const Object* object = value.AsObject();
  if (object != nullptr && !object->args.empty() &&
      (object->Is(kTorchUtils, "_rebuild_parameter") ||
       object->Is(kTorchUtils, "_rebuild_parameter_with_state"))) {
    return object->args[0].AsTensor();
  }
  return nullptr;
}

}  // namespace ckptfs
