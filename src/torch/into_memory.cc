#include "torch/into_memory.h"

#include <ckptfs/checkpoint/tensor_names.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <set>
#include <string>

namespace ckptfs::libtorch {

Result<void> GiveMemory(const Value& value,
                        const std::function<bool(std::string_view)>& wanted) {
  // A tensor may have several names: one that is wanted is enough.
  std::set<TensorView*> needed;
  std::set<TensorView*> all;
  CKPTFS_RETURN_IF_ERROR(
      VisitTensors(value, [&](const std::string& name, TensorView& tensor) {
        all.insert(&tensor);
        if (!wanted || wanted(name)) needed.insert(&tensor);
      }));
  std::map<const Storage*, std::shared_ptr<Storage>> described;
  for (TensorView* tensor : all) {
    if (needed.contains(tensor)) continue;
    std::shared_ptr<Storage>& apart = described[tensor->storage.get()];
    if (apart == nullptr) apart = std::make_shared<Storage>(*tensor->storage);
    tensor->storage = apart;
  }
  for (TensorView* tensor : needed) {
    Storage& storage = *tensor->storage;
    if (storage.owner != nullptr || storage.bytes == 0) continue;
    // calloc: large blocks are fresh pages, which cost nothing to be zero.
    void* const memory = std::calloc(storage.bytes, 1);
    if (memory == nullptr) {
      return Fail(ErrorCode::kResourceExhausted,
                  "no memory for a storage of " +
                      std::to_string(storage.bytes) + " bytes");
    }
    storage.owner = std::shared_ptr<void>(memory, std::free);
    storage.memory = {static_cast<std::byte*>(memory), storage.bytes};
  }
  return {};
}

}  // namespace ckptfs::libtorch
