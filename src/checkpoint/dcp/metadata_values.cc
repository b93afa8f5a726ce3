#include "checkpoint/dcp/metadata_values.h"

#include <array>
#include <utility>

namespace ckptfs {

namespace {

tl::unexpected<Error> Bad(std::string what) {
  return Fail(ErrorCode::kInvalidArgument, std::move(what));
}

Value Call(std::string module, std::string name, std::vector<Value> args) {
  Object object;
  object.callable = {std::move(module), std::move(name)};
  object.args = std::move(args);
  return Value(std::move(object));
}

const std::vector<Value>* Items(const Value& value) {
  if (const Tuple* tuple = value.AsTuple()) return &tuple->items;
  if (const List* list = value.AsList()) return &list->items;
  return nullptr;
}

// Of _MEM_FORMAT_ENCODING, by value.
constexpr std::array<std::string_view, 3> kMemoryFormats = {
    "TORCH_CONTIGUOUS_FORMAT", "TORCH_CHANNELS_LAST", "TORCH_PRESERVE_FORMAT"};

Result<DcpMemoryFormat> MemoryFormatOf(const Value& value) {
  const Object* object = value.AsObject();
  if (object == nullptr || object->args.empty()) {
    return Bad("a memory format that is a " + value.TypeName());
  }
  // An enum is pickled by its value, by some versions of Python 3.11 and 3.12
  // as getattr(class, name).
  if (object->callable.name == "getattr" && object->args.size() == 2) {
    const std::string* name = object->args[1].AsString();
    for (std::size_t i = 0; name != nullptr && i < kMemoryFormats.size(); ++i) {
      if (*name == kMemoryFormats[i]) return static_cast<DcpMemoryFormat>(i);
    }
    return Bad("an unknown memory format");
  }
  const std::optional<std::int64_t> number = object->args[0].AsInt();
  if (!number || *number < 0 ||
      *number >= static_cast<std::int64_t>(kMemoryFormats.size())) {
    return Bad("an unknown memory format");
  }
  return static_cast<DcpMemoryFormat>(*number);
}

Result<DType> DTypeOf(const Value& value) {
  const Global* global = value.AsGlobal();
  if (global == nullptr || global->module != "torch") {
    return Bad("a dtype that is a " + value.TypeName());
  }
  const std::optional<DType> dtype = DTypeFromTorchName(global->name);
  if (!dtype) {
    return Fail(ErrorCode::kUnsupported,
                "the dtype torch." + global->name + " is not known here");
  }
  return *dtype;
}

}  // namespace

Value InstanceValue(std::string module, std::string name, Dict attributes) {
  Object object;
  object.made = Object::Made::kNew;
  object.callable = {std::move(module), std::move(name)};
  object.has_state = true;
  object.state = Value(std::move(attributes));
  return Value(std::move(object));
}

Result<const Dict*> AttributesOf(const Value& value, std::string_view name) {
  const Object* object = value.AsObject();
  if (object == nullptr || object->callable.name != name) {
    return Bad("a " + value.TypeName() + " instead of a " + std::string(name));
  }
  const Dict* attributes = object->has_state ? object->state.AsDict() : nullptr;
  if (attributes == nullptr) {
    return Bad("a " + std::string(name) + " without attributes");
  }
  return attributes;
}

const Value* Attribute(const Dict& attributes, std::string_view name) {
  return attributes.Find(name);
}

Value SizesValue(const DcpSizes& sizes) {
  Tuple tuple;
  for (const std::int64_t size : sizes) tuple.items.emplace_back(size);
  return Call("torch", "Size", {Value(std::move(tuple))});
}

Result<DcpSizes> SizesOf(const Value& value, std::string_view what) {
  const std::vector<Value>* items = Items(value);
  if (const Object* size = value.AsObject()) {
    if (size->Is("torch", "Size") && size->args.size() == 1) {
      items = Items(size->args[0]);
    }
  }
  if (items == nullptr) {
    return Bad(std::string(what) + " that are a " + value.TypeName());
  }
  DcpSizes sizes;
  for (const Value& item : *items) {
    const std::optional<std::int64_t> size = item.AsInt();
    if (!size) return Bad(std::string(what) + " with a " + item.TypeName());
    sizes.push_back(*size);
  }
  return sizes;
}

Value TensorPropertiesValue(const DcpTensorProperties& properties) {
  // __getstate__ of the class makes a tuple of it.
  Tuple state;
  state.items.emplace_back(
      Global{"torch", std::string(InfoOf(properties.dtype).torch_name)});
  state.items.push_back(
      Call("torch.serialization", "_get_layout", {Value(properties.layout)}));
  state.items.emplace_back(properties.requires_grad);
  state.items.push_back(
      Call(kDcpMetadataModule, "_MEM_FORMAT_ENCODING",
           {Value(static_cast<std::int64_t>(properties.memory_format))}));
  state.items.emplace_back(properties.pin_memory);
  Object object;
  object.made = Object::Made::kNew;
  object.callable = {kDcpMetadataModule, "TensorProperties"};
  object.has_state = true;
  object.state = Value(std::move(state));
  return Value(std::move(object));
}

Result<DcpTensorProperties> TensorPropertiesOf(const Value& value) {
  // Early 2.x pickled the class of the same name and state in
  // torch.distributed._shard.sharded_tensor.metadata.
  const Object* object = value.AsObject();
  if (object == nullptr || object->callable.name != "TensorProperties") {
    return Bad("a " + value.TypeName() + " instead of TensorProperties");
  }
  const Tuple* state = object->state.AsTuple();
  if (state == nullptr || state->items.size() != 5) {
    return Bad("TensorProperties that are not five values");
  }
  DcpTensorProperties properties;
  CKPTFS_ASSIGN_OR_RETURN(properties.dtype, DTypeOf(state->items[0]));
  if (const Object* layout = state->items[1].AsObject()) {
    if (layout->args.size() == 1 && layout->args[0].AsString() != nullptr) {
      properties.layout = *layout->args[0].AsString();
    }
  }
  properties.requires_grad = state->items[2].AsBool().value_or(false);
  CKPTFS_ASSIGN_OR_RETURN(properties.memory_format,
                          MemoryFormatOf(state->items[3]));
  properties.pin_memory = state->items[4].AsBool().value_or(false);
  return properties;
}

Value ChunkValue(const DcpChunk& chunk) {
  Dict attributes;
  attributes.Assign("offsets", SizesValue(chunk.offsets));
  attributes.Assign("sizes", SizesValue(chunk.sizes));
  return InstanceValue(kDcpMetadataModule, "ChunkStorageMetadata",
                       std::move(attributes));
}

Result<DcpChunk> ChunkOf(const Value& value) {
  CKPTFS_ASSIGN_OR_RETURN(const Dict* attributes,
                          AttributesOf(value, "ChunkStorageMetadata"));
  const Value* offsets = Attribute(*attributes, "offsets");
  const Value* sizes = Attribute(*attributes, "sizes");
  if (offsets == nullptr || sizes == nullptr) {
    return Bad("a chunk without offsets or sizes");
  }
  DcpChunk chunk;
  CKPTFS_ASSIGN_OR_RETURN(chunk.offsets, SizesOf(*offsets, "offsets"));
  CKPTFS_ASSIGN_OR_RETURN(chunk.sizes, SizesOf(*sizes, "sizes"));
  return chunk;
}

Value IndexValue(const DcpIndex& index) {
  // Python leaves out the offset where it is None (MetadataIndex.__init__).
  Dict attributes;
  attributes.Assign("fqn", Value(index.fqn));
  attributes.Assign("index", index.index ? Value(*index.index) : Value());
  if (index.offset) attributes.Assign("offset", SizesValue(*index.offset));
  return InstanceValue(kDcpMetadataModule, "MetadataIndex",
                       std::move(attributes));
}

Result<DcpIndex> IndexOf(const Value& value) {
  CKPTFS_ASSIGN_OR_RETURN(const Dict* attributes,
                          AttributesOf(value, "MetadataIndex"));
  const Value* fqn = Attribute(*attributes, "fqn");
  if (fqn == nullptr || fqn->AsString() == nullptr) {
    return Bad("a MetadataIndex without an fqn");
  }
  DcpIndex index;
  index.fqn = *fqn->AsString();
  const Value* offset = Attribute(*attributes, "offset");
  if (offset != nullptr && !offset->is_none()) {
    CKPTFS_ASSIGN_OR_RETURN(index.offset, SizesOf(*offset, "offset"));
  }
  const Value* hint = Attribute(*attributes, "index");
  if (hint != nullptr) index.index = hint->AsInt();
  return index;
}

Value StorageInfoValue(const DcpStorageInfo& info) {
  Dict attributes;
  attributes.Assign("relative_path", Value(info.relative_path));
  attributes.Assign("offset", Value(static_cast<std::int64_t>(info.offset)));
  attributes.Assign("length", Value(static_cast<std::int64_t>(info.length)));
  if (!info.transform_descriptors.empty()) {
    List list;
    for (const std::string& d : info.transform_descriptors) {
      list.items.emplace_back(d);
    }
    attributes.Assign("transform_descriptors", Value(std::move(list)));
  }
  return InstanceValue(kDcpFileSystemModule, "_StorageInfo",
                       std::move(attributes));
}

Result<DcpStorageInfo> StorageInfoOf(const Value& value) {
  CKPTFS_ASSIGN_OR_RETURN(const Dict* attributes,
                          AttributesOf(value, "_StorageInfo"));
  const Value* path = Attribute(*attributes, "relative_path");
  const Value* offset = Attribute(*attributes, "offset");
  const Value* length = Attribute(*attributes, "length");
  if (path == nullptr || path->AsString() == nullptr || offset == nullptr ||
      !offset->AsInt() || length == nullptr || !length->AsInt()) {
    return Bad("a _StorageInfo without path, offset or length");
  }
  if (*offset->AsInt() < 0 || *length->AsInt() < 0) {
    return Bad("a _StorageInfo at offset " + std::to_string(*offset->AsInt()) +
               " of " + std::to_string(*length->AsInt()) + " bytes");
  }
  DcpStorageInfo info;
  info.relative_path = *path->AsString();
  info.offset = static_cast<std::uint64_t>(*offset->AsInt());
  info.length = static_cast<std::uint64_t>(*length->AsInt());
  const Value* transforms = Attribute(*attributes, "transform_descriptors");
  if (transforms != nullptr && !transforms->is_none()) {
    const std::vector<Value>* items = Items(*transforms);
    if (items == nullptr) {
      return Bad("transform_descriptors that are a " + transforms->TypeName());
    }
    for (const Value& item : *items) {
      if (item.AsString() == nullptr) {
        return Bad("a transform that is a " + item.TypeName());
      }
      info.transform_descriptors.push_back(*item.AsString());
    }
  }
  return info;
}

Value PathValue(const DcpPath& path) {
  Tuple tuple;
  for (const DcpPathPart& part : path) {
    if (const auto* key = std::get_if<std::string>(&part)) {
      tuple.items.emplace_back(*key);
    } else {
      tuple.items.emplace_back(std::get<std::int64_t>(part));
    }
  }
  return Value(std::move(tuple));
}

Result<DcpPath> PathOf(const Value& value) {
  const std::vector<Value>* items = Items(value);
  if (items == nullptr) return Bad("a path that is a " + value.TypeName());
  DcpPath path;
  for (const Value& item : *items) {
    if (const std::string* key = item.AsString()) {
      path.emplace_back(*key);
    } else if (const std::optional<std::int64_t> position = item.AsInt()) {
      path.emplace_back(*position);
    } else {
      return Bad("a path with a " + item.TypeName());
    }
  }
  return path;
}

}  // namespace ckptfs
