// DcpMetadata: the `.metadata` file of PyTorch Distributed Checkpoint (DCP) as
// data: what was saved, in which chunks, and where each chunk lies. Source of
// the format: torch 2.13, torch/distributed/checkpoint/metadata.py and
// filesystem.py (_StorageInfo); the file is a Python pickle of these objects.
#pragma once

#include <ckptfs/checkpoint/dtype.h>
#include <ckptfs/export.h>
#include <ckptfs/result.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

namespace ckptfs {

// A shape or a position in a tensor, in elements: torch.Size.
using DcpSizes = std::vector<std::int64_t>;

// ChunkStorageMetadata: a box of a tensor that was saved as one item.
struct DcpChunk {
  DcpSizes offsets;
  DcpSizes sizes;
  friend bool operator==(const DcpChunk&, const DcpChunk&) = default;
};

enum class DcpMemoryFormat { kContiguous, kChannelsLast, kPreserve };

// TensorProperties. All but dtype are deprecated in torch, and say nothing of
// how the chunks are stored.
struct DcpTensorProperties {
  DType dtype = DType::kFloat32;
  std::string layout = "torch.strided";
  bool requires_grad = false;
  DcpMemoryFormat memory_format = DcpMemoryFormat::kContiguous;
  bool pin_memory = false;
  friend bool operator==(const DcpTensorProperties&,
                         const DcpTensorProperties&) = default;
};

// TensorStorageMetadata: a tensor and the boxes that it was saved in.
struct DcpTensorMetadata {
  DcpTensorProperties properties;
  DcpSizes size;
  std::vector<DcpChunk> chunks;
  friend bool operator==(const DcpTensorMetadata&,
                         const DcpTensorMetadata&) = default;
};

// BytesStorageMetadata: any other value, saved whole.
struct DcpBytesMetadata {
  friend bool operator==(const DcpBytesMetadata&,
                         const DcpBytesMetadata&) = default;
};

using DcpItemMetadata = std::variant<DcpTensorMetadata, DcpBytesMetadata>;

// MetadataIndex: names an item of storage: a value, or the chunk of a tensor
// that begins at `offset`. As in torch, `index` (the chunk's position) is a
// hint and takes no part in comparisons.
struct DcpIndex {
  std::string fqn;
  std::optional<DcpSizes> offset;
  std::optional<std::int64_t> index;
  friend bool operator==(const DcpIndex& a, const DcpIndex& b) {
    return a.fqn == b.fqn && a.offset == b.offset;
  }
  friend bool operator<(const DcpIndex& a, const DcpIndex& b) {
    return std::tie(a.fqn, a.offset) < std::tie(b.fqn, b.offset);
  }
};

// _StorageInfo: where an item lies: bytes of a file below the checkpoint's
// folder. An item is a complete file of torch.save.
struct DcpStorageInfo {
  std::string relative_path;  // with slashes; never leaves the folder
  std::uint64_t offset = 0;   // bytes
  std::uint64_t length = 0;
  // What was done to the bytes ("stream.zstd/1"); empty: nothing.
  std::vector<std::string> transform_descriptors;
  friend bool operator==(const DcpStorageInfo&,
                         const DcpStorageInfo&) = default;
};

// The path of a value in the nested state: dict keys are str, positions in
// lists are int. Its fqn is the path joined by dots.
using DcpPathPart = std::variant<std::string, std::int64_t>;
using DcpPath = std::vector<DcpPathPart>;

// StorageMeta.
struct DcpStorageMeta {
  std::optional<std::string> checkpoint_id;
  std::optional<std::string> save_id;
  std::optional<std::string> load_id;
  std::vector<std::string> modules;
};

struct DcpMetadata {
  // By fqn, in the order of the file. Names are unique.
  std::vector<std::pair<std::string, DcpItemMetadata>> items;
  // How to nest the items again, by fqn. Nullopt: they were not nested, or by
  // a planner with data of its own kind.
  std::optional<std::map<std::string, DcpPath>> planner_data;
  std::map<DcpIndex, DcpStorageInfo> storage_data;
  std::optional<DcpStorageMeta> storage_meta;
  std::optional<std::string> version;  // "1.0.0"; absent in older files
};

// Reads what Python has pickled (protocols 2 to 5), of this and older versions
// of torch; attributes that are not known are skipped. Nothing of it is run.
// Time and memory are bounded by the size of the file.
// kInvalidArgument, with the fqn and the path or chunk: damaged or hostile
// files; among them paths that are absolute or have `..` or empty components,
// chunks that overlap or lie outside their tensor, sizes that overflow.
// kUnsupported: a dtype that is not known here. kTooLarge: more chunks than can
// be compared in reasonable time.
CKPTFS_EXPORT Result<DcpMetadata> ParseDcpMetadata(
    std::span<const std::byte> bytes);

// A pickle (protocol 2) that Python's pickle.load turns into torch's own
// Metadata. The errors of ParseDcpMetadata for what would not be read again.
CKPTFS_EXPORT Result<std::string> WriteDcpMetadata(const DcpMetadata& metadata);

}  // namespace ckptfs
