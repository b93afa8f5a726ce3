// The plans that DCP's planners and storages exchange. Source: torch 2.13,
// torch/distributed/checkpoint/planner.py and storage.py.
#pragma once

#include <ckptfs/checkpoint/dcp/metadata.h>
#include <ckptfs/checkpoint/tensor_view.h>
#include <ckptfs/checkpoint/value.h>
#include <ckptfs/export.h>
#include <ckptfs/result.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace ckptfs {

struct DcpWriteItem {
  enum class Type {
    kTensor,  // a whole tensor, the same on every rank that has it
    kShard,   // a box of one
    kBytes,   // any other value
  };
  DcpIndex index;
  Type type = Type::kBytes;
  // Not for kBytes.
  DcpChunk chunk;
  DcpTensorProperties properties;
  DcpSizes size;  // of the whole tensor
};

struct DcpSavePlan {
  std::vector<DcpWriteItem> items;
  // What the names of this rank's files begin with, relative to the folder of
  // the checkpoint; set by the storage.
  std::optional<std::string> prefix;
  std::map<std::string, DcpPath> planner_data;
};

// What an item is, when it is written.
class CKPTFS_EXPORT DcpSavePlanner {
 public:
  virtual ~DcpSavePlanner() = default;
  // A TensorView of item.chunk.sizes (any strides), or the value of a kBytes
  // item. Its memory must not change until the write has ended. Called on a
  // thread of the engine: return soon.
  virtual Result<Value> ResolveData(const DcpWriteItem& item) = 0;
};

struct DcpWriteResult {
  DcpIndex index;
  DcpStorageInfo storage;
};

struct DcpReadItem {
  enum class Type { kTensor, kBytes };
  Type type = Type::kBytes;
  DcpIndex dest_index;
  DcpIndex storage_index;
  // For kTensor: the box of `lengths` at storage_offsets of the stored chunk
  // goes to dest_offsets of the destination.
  DcpSizes dest_offsets;
  DcpSizes storage_offsets;
  DcpSizes lengths;
};

struct DcpLoadPlan {
  std::vector<DcpReadItem> items;
};

// Where items go, when they are read. Called on a thread of the engine: return
// soon.
class CKPTFS_EXPORT DcpLoadPlanner {
 public:
  virtual ~DcpLoadPlanner() = default;
  // The memory for a kTensor item: a view of item.lengths (any strides).
  // Views of different items must not overlap.
  virtual Result<TensorView> ResolveTensor(const DcpReadItem& item) = 0;
  // The value of a kBytes item.
  virtual Result<void> LoadBytes(const DcpReadItem& item, Value value) = 0;
};

}  // namespace ckptfs
