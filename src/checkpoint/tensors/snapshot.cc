#include "checkpoint/tensors/snapshot.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>
#include <unordered_set>

#include "checkpoint/tensors/host_memory.h"
#include "checkpoint/tensors/tensor_walk.h"

namespace ckptfs {

namespace {

class StorageSum final : public TensorVisitor {
 public:
  void Tensor(const std::string&, TensorView& tensor) override {
    Add(*tensor.storage);
  }
  void Bare(const std::string&,
            const std::shared_ptr<Storage>& storage) override {
    Add(*storage);
  }
  std::uint64_t bytes = 0;

 private:
  void Add(const Storage& storage) {
    if (seen_.insert(&storage).second) bytes += storage.bytes;
  }
  std::unordered_set<const Storage*> seen_;
};

// Each container and storage is copied once, however many paths lead to it.
class Copier {
 public:
  Result<Value> Copy(const Value& value) {
    const void* const id = value.AsTensor() != nullptr
                               ? static_cast<const void*>(value.AsTensor())
                               : value.container();
    if (id == nullptr) {
      if (const StorageReference* bare = value.AsStorage()) {
        StorageReference copy = *bare;
        CKPTFS_ASSIGN_OR_RETURN(copy.storage, CopyStorage(bare->storage));
        return Value(std::move(copy));
      }
      return value;  // cannot change
    }
    const auto known = copies_.find(id);
    if (known != copies_.end()) return known->second;
    CKPTFS_ASSIGN_OR_RETURN(Value copy, CopyContainer(value));
    copies_.emplace(id, copy);
    return copy;
  }

 private:
  Result<std::shared_ptr<Storage>> CopyStorage(
      const std::shared_ptr<Storage>& storage) {
    std::shared_ptr<Storage>& copy = storages_[storage.get()];
    if (copy != nullptr) return copy;
    if (storage->memory.size() != storage->bytes) {
      return Fail(ErrorCode::kInvalidArgument,
                  "a storage of " + std::to_string(storage->bytes) +
                      " bytes is not loaded");
    }
    CKPTFS_ASSIGN_OR_RETURN(HostMemory memory,
                            AllocateHostMemory(storage->bytes));
    std::copy(storage->memory.begin(), storage->memory.end(),
              memory.bytes.begin());
    copy = std::make_shared<Storage>(*storage);
    copy->memory = memory.bytes;
    copy->owner = memory.owner;
    return copy;
  }

  Result<std::vector<Value>> CopyItems(const std::vector<Value>& items) {
    std::vector<Value> out;
    out.reserve(items.size());
    for (const Value& item : items) {
      CKPTFS_ASSIGN_OR_RETURN(Value copy, Copy(item));
      out.push_back(std::move(copy));
    }
    return out;
  }

  Result<Value> CopyContainer(const Value& value) {
    if (const TensorView* tensor = value.AsTensor()) {
      TensorView copy = *tensor;
      CKPTFS_ASSIGN_OR_RETURN(copy.storage, CopyStorage(tensor->storage));
      return Value(std::move(copy));
    }
    if (const List* list = value.AsList()) {
      CKPTFS_ASSIGN_OR_RETURN(std::vector<Value> items, CopyItems(list->items));
      return Value(List{std::move(items)});
    }
    if (const Tuple* tuple = value.AsTuple()) {
      CKPTFS_ASSIGN_OR_RETURN(std::vector<Value> items,
                              CopyItems(tuple->items));
      return Value(Tuple{std::move(items)});
    }
    if (const Set* set = value.AsSet()) {
      CKPTFS_ASSIGN_OR_RETURN(std::vector<Value> items, CopyItems(set->items));
      return Value(Set{std::move(items)});
    }
    if (const Dict* dict = value.AsDict()) {
      Dict copy(dict->type());
      CKPTFS_ASSIGN_OR_RETURN(copy.attributes, Copy(dict->attributes));
      for (const auto& [key, item] : dict->items()) {
        CKPTFS_ASSIGN_OR_RETURN(Value copied, Copy(item));
        copy.Assign(key, std::move(copied));
      }
      return Value(std::move(copy));
    }
    const Object& object = *value.AsObject();
    Object copy = object;
    CKPTFS_ASSIGN_OR_RETURN(copy.args, CopyItems(object.args));
    CKPTFS_ASSIGN_OR_RETURN(copy.kwargs, Copy(object.kwargs));
    CKPTFS_ASSIGN_OR_RETURN(copy.state, Copy(object.state));
    CKPTFS_ASSIGN_OR_RETURN(copy.list_items, CopyItems(object.list_items));
    for (auto& [key, item] : copy.dict_items) {
      CKPTFS_ASSIGN_OR_RETURN(item, Copy(item));
    }
    return Value(std::move(copy));
  }

  std::unordered_map<const void*, Value> copies_;
  std::unordered_map<const Storage*, std::shared_ptr<Storage>> storages_;
};

}  // namespace

Result<std::uint64_t> SnapshotBytes(const Value& value) {
  StorageSum sum;
  CKPTFS_RETURN_IF_ERROR(TensorWalk(sum).Walk(value));
  return sum.bytes;
}

Result<Value> TakeSnapshot(const Value& value) { return Copier().Copy(value); }

}  // namespace ckptfs
