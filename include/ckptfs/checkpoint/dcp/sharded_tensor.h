// ShardedTensor: a tensor of which this rank holds some boxes; what DTensor and
// FSDP know as shards.
#pragma once

#include <ckptfs/checkpoint/dcp/metadata.h>
#include <ckptfs/checkpoint/value.h>
#include <ckptfs/export.h>
#include <ckptfs/result.h>

#include <optional>
#include <vector>

namespace ckptfs {

struct TensorShard {
  DcpSizes offsets;   // of the shard's first element in the whole tensor
  TensorView tensor;  // dtype as the whole; any strides
};

struct ShardedTensor {
  DType dtype = DType::kFloat32;
  DcpSizes shape;  // of the whole tensor
  // Those of this rank; may be none. Boxes of different ranks are disjoint or
  // the same (replicas, of which one is saved).
  std::vector<TensorShard> shards;
};

// As a value of a state that is saved or loaded in place: an Object of the
// class ckptfs.ShardedTensor, which is good for nothing else. The memory of the
// shards is shared with `tensor`.
CKPTFS_EXPORT Value ShardedTensorValue(const ShardedTensor& tensor);
// Nullopt: another value. kInvalidArgument: such an Object, but damaged.
CKPTFS_EXPORT Result<std::optional<ShardedTensor>> ShardedTensorOf(
    const Value& value);

}  // namespace ckptfs
