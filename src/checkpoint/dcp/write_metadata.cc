// WriteDcpMetadata: from the structs to the pickle of torch's own classes.
#include <string>
#include <utility>

#include "checkpoint/dcp/check_metadata.h"
#include "checkpoint/dcp/metadata_values.h"
#include "checkpoint/pickle/pickle_writer.h"

namespace ckptfs {

namespace {

// Metadata hold no tensors.
class NoStorages final : public PickleStorages {
 public:
  std::string KeyOf(const std::shared_ptr<Storage>&) override { return {}; }
};

Value ItemValue(const DcpItemMetadata& item) {
  const auto* tensor = std::get_if<DcpTensorMetadata>(&item);
  if (tensor == nullptr) {
    // A dataclass without fields has no state.
    Object object;
    object.made = Object::Made::kNew;
    object.callable = {kDcpMetadataModule, "BytesStorageMetadata"};
    return Value(std::move(object));
  }
  List chunks;
  for (const DcpChunk& chunk : tensor->chunks) {
    chunks.items.push_back(ChunkValue(chunk));
  }
  Dict attributes;
  attributes.Assign("properties", TensorPropertiesValue(tensor->properties));
  attributes.Assign("size", SizesValue(tensor->size));
  attributes.Assign("chunks", Value(std::move(chunks)));
  return InstanceValue(kDcpMetadataModule, "TensorStorageMetadata",
                       std::move(attributes));
}

Value OptionalText(const std::optional<std::string>& text) {
  return text ? Value(*text) : Value();
}

Value StorageMetaValue(const DcpStorageMeta& meta) {
  List modules;
  for (const std::string& module : meta.modules) {
    modules.items.emplace_back(module);
  }
  Dict attributes;
  attributes.Assign("checkpoint_id", OptionalText(meta.checkpoint_id));
  attributes.Assign("save_id", OptionalText(meta.save_id));
  attributes.Assign("load_id", OptionalText(meta.load_id));
  attributes.Assign("modules", Value(std::move(modules)));
  return InstanceValue(kDcpMetadataModule, "StorageMeta",
                       std::move(attributes));
}

}  // namespace

Result<std::string> WriteDcpMetadata(const DcpMetadata& metadata) {
  CKPTFS_RETURN_IF_ERROR(CheckDcpMetadata(metadata));
  Dict items;
  for (const auto& [fqn, item] : metadata.items) {
    items.Assign(Value(fqn), ItemValue(item));
  }
  Value planner;
  if (metadata.planner_data) {
    Dict paths;
    for (const auto& [fqn, path] : *metadata.planner_data) {
      paths.Assign(Value(fqn), PathValue(path));
    }
    planner = Value(std::move(paths));
  }
  Dict storage;
  for (const auto& [index, info] : metadata.storage_data) {
    storage.Assign(IndexValue(index), StorageInfoValue(info));
  }
  Dict attributes;
  attributes.Assign("state_dict_metadata", Value(std::move(items)));
  attributes.Assign("planner_data", std::move(planner));
  attributes.Assign("storage_data", Value(std::move(storage)));
  attributes.Assign("storage_meta",
                    metadata.storage_meta
                        ? StorageMetaValue(*metadata.storage_meta)
                        : Value());
  attributes.Assign("version", OptionalText(metadata.version));
  NoStorages storages;
  return WritePickle(
      InstanceValue(kDcpMetadataModule, "Metadata", std::move(attributes)),
      storages);
}

}  // namespace ckptfs
