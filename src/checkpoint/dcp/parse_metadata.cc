// ParseDcpMetadata: from the pickle's values to the structs.
#include <string>
#include <utility>

#include "checkpoint/dcp/check_metadata.h"
#include "checkpoint/dcp/metadata_values.h"
#include "checkpoint/pickle/pickle_reader.h"

namespace ckptfs {

namespace {

tl::unexpected<Error> Bad(std::string what) {
  return Fail(ErrorCode::kInvalidArgument, std::move(what));
}

Result<DcpItemMetadata> ItemOf(const Value& value) {
  const Object* object = value.AsObject();
  if (object != nullptr && object->callable.name == "BytesStorageMetadata") {
    return DcpBytesMetadata();
  }
  CKPTFS_ASSIGN_OR_RETURN(const Dict* attributes,
                          AttributesOf(value, "TensorStorageMetadata"));
  const Value* properties = Attribute(*attributes, "properties");
  const Value* size = Attribute(*attributes, "size");
  const Value* chunks = Attribute(*attributes, "chunks");
  if (properties == nullptr || size == nullptr || chunks == nullptr ||
      chunks->AsList() == nullptr) {
    return Bad("a tensor without properties, size or chunks");
  }
  DcpTensorMetadata tensor;
  CKPTFS_ASSIGN_OR_RETURN(tensor.properties, TensorPropertiesOf(*properties));
  CKPTFS_ASSIGN_OR_RETURN(tensor.size, SizesOf(*size, "sizes"));
  for (const Value& chunk : chunks->AsList()->items) {
    CKPTFS_ASSIGN_OR_RETURN(DcpChunk parsed, ChunkOf(chunk));
    tensor.chunks.push_back(std::move(parsed));
  }
  return tensor;
}

std::optional<std::string> TextOf(const Value* value) {
  if (value == nullptr) return std::nullopt;
  if (const std::string* text = value->AsString()) return *text;
  // A pathlib path is its class, called with the parts.
  const Object* object = value->AsObject();
  if (object == nullptr || !object->callable.module.starts_with("pathlib")) {
    return std::nullopt;
  }
  std::string path;
  for (const Value& part : object->args) {
    if (part.AsString() == nullptr) return std::nullopt;
    if (!path.empty() && path.back() != '/') path += '/';
    path += *part.AsString();
  }
  return path;
}

Result<DcpStorageMeta> StorageMetaOf(const Value& value) {
  CKPTFS_ASSIGN_OR_RETURN(const Dict* attributes,
                          AttributesOf(value, "StorageMeta"));
  DcpStorageMeta meta;
  meta.checkpoint_id = TextOf(Attribute(*attributes, "checkpoint_id"));
  meta.save_id = TextOf(Attribute(*attributes, "save_id"));
  meta.load_id = TextOf(Attribute(*attributes, "load_id"));
  const Value* modules = Attribute(*attributes, "modules");
  if (modules != nullptr && modules->AsList() != nullptr) {
    for (const Value& module : modules->AsList()->items) {
      if (const std::string* name = module.AsString()) {
        meta.modules.push_back(*name);
      }
    }
  }
  return meta;
}

Result<DcpMetadata> MetadataOf(const Value& root) {
  CKPTFS_ASSIGN_OR_RETURN(const Dict* attributes,
                          AttributesOf(root, "Metadata"));
  DcpMetadata metadata;
  const Value* items = Attribute(*attributes, "state_dict_metadata");
  if (items == nullptr || items->AsDict() == nullptr) {
    return Bad("no state_dict_metadata");
  }
  for (const auto& [key, value] : items->AsDict()->items()) {
    const std::string* fqn = key.AsString();
    if (fqn == nullptr) return Bad("an item whose name is a " + key.TypeName());
    Result<DcpItemMetadata> item = ItemOf(value);
    if (!item) return Fail(item.error().WithContext(*fqn));
    metadata.items.emplace_back(*fqn, *std::move(item));
  }
  const Value* planner = Attribute(*attributes, "planner_data");
  if (planner != nullptr && planner->AsDict() != nullptr) {
    metadata.planner_data.emplace();
    for (const auto& [key, value] : planner->AsDict()->items()) {
      Result<DcpPath> path = PathOf(value);
      if (key.AsString() == nullptr || !path) {
        // Another planner's own: as if there were none.
        metadata.planner_data.reset();
        break;
      }
      (*metadata.planner_data)[*key.AsString()] = *std::move(path);
    }
  }
  const Value* storage = Attribute(*attributes, "storage_data");
  if (storage == nullptr || storage->AsDict() == nullptr) {
    return Bad("no storage_data");
  }
  for (const auto& [key, value] : storage->AsDict()->items()) {
    CKPTFS_ASSIGN_OR_RETURN(DcpIndex index, IndexOf(key));
    Result<DcpStorageInfo> info = StorageInfoOf(value);
    if (!info) return Fail(info.error().WithContext(index.fqn));
    metadata.storage_data[std::move(index)] = *std::move(info);
  }
  const Value* meta = Attribute(*attributes, "storage_meta");
  if (meta != nullptr && !meta->is_none()) {
    CKPTFS_ASSIGN_OR_RETURN(metadata.storage_meta, StorageMetaOf(*meta));
  }
  metadata.version = TextOf(Attribute(*attributes, "version"));
  return metadata;
}

}  // namespace

Result<DcpMetadata> ParseDcpMetadata(std::span<const std::byte> bytes) {
  PickleHandler opaque;
  CKPTFS_ASSIGN_OR_RETURN(const Value root, ReadPickle(bytes, opaque));
  CKPTFS_ASSIGN_OR_RETURN(DcpMetadata metadata, MetadataOf(root));
  CKPTFS_RETURN_IF_ERROR(CheckDcpMetadata(metadata));
  return metadata;
}

}  // namespace ckptfs
