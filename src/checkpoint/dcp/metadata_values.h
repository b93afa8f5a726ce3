// MetadataValues: the parts of `.metadata` as pickled values; shared by those
// who read it, write it, and send plans between ranks.
#pragma once

#include <ckptfs/checkpoint/dcp/metadata.h>
#include <ckptfs/checkpoint/value.h>
#include <ckptfs/result.h>

#include <string>
#include <string_view>

namespace ckptfs {

// Where torch 2.13 defines the classes.
inline constexpr char kDcpMetadataModule[] =
    "torch.distributed.checkpoint.metadata";
inline constexpr char kDcpFileSystemModule[] =
    "torch.distributed.checkpoint.filesystem";

// torch.Size.
Value SizesValue(const DcpSizes& sizes);
Result<DcpSizes> SizesOf(const Value& value, std::string_view what);

Value TensorPropertiesValue(const DcpTensorProperties& properties);
Result<DcpTensorProperties> TensorPropertiesOf(const Value& value);

Value ChunkValue(const DcpChunk& chunk);
Result<DcpChunk> ChunkOf(const Value& value);

Value IndexValue(const DcpIndex& index);
Result<DcpIndex> IndexOf(const Value& value);

Value StorageInfoValue(const DcpStorageInfo& info);
Result<DcpStorageInfo> StorageInfoOf(const Value& value);

Value PathValue(const DcpPath& path);
Result<DcpPath> PathOf(const Value& value);

// An instance as pickle makes it: cls.__new__(cls), then its attributes.
Value InstanceValue(std::string module, std::string name, Dict attributes);
// The attributes of an instance of a class of that name, whatever its module
// (they have moved between versions). kInvalidArgument: something else.
Result<const Dict*> AttributesOf(const Value& value, std::string_view name);
// Nullptr: not there.
const Value* Attribute(const Dict& attributes, std::string_view name);

}  // namespace ckptfs
