#include <ckptfs/checkpoint/dcp/sharded_tensor.h>

#include <string>
#include <utility>

#include "checkpoint/dcp/metadata_values.h"

namespace ckptfs {

Value ShardedTensorValue(const ShardedTensor& tensor) {
  List shards;
  for (const TensorShard& shard : tensor.shards) {
    shards.items.emplace_back(
        Tuple{{SizesValue(shard.offsets), Value(shard.tensor)}});
  }
  Object object;
  object.callable = {"ckptfs", "ShardedTensor"};
  object.args = {
      Value(Global{"torch", std::string(InfoOf(tensor.dtype).torch_name)}),
      SizesValue(tensor.shape), Value(std::move(shards))};
  return Value(std::move(object));
}

Result<std::optional<ShardedTensor>> ShardedTensorOf(const Value& value) {
  const Object* object = value.AsObject();
  if (object == nullptr || !object->Is("ckptfs", "ShardedTensor")) {
    return std::optional<ShardedTensor>();
  }
  const auto bad = [] {
    return Fail(ErrorCode::kInvalidArgument, "a damaged ShardedTensor");
  };
  if (object->args.size() != 3) return bad();
  const Global* dtype = object->args[0].AsGlobal();
  const List* shards = object->args[2].AsList();
  if (dtype == nullptr || shards == nullptr) return bad();
  const std::optional<DType> known = DTypeFromTorchName(dtype->name);
  if (!known) return bad();
  ShardedTensor tensor;
  tensor.dtype = *known;
  CKPTFS_ASSIGN_OR_RETURN(tensor.shape, SizesOf(object->args[1], "sizes"));
  for (const Value& item : shards->items) {
    const Tuple* pair = item.AsTuple();
    if (pair == nullptr || pair->items.size() != 2 ||
        pair->items[1].AsTensor() == nullptr) {
      return bad();
    }
    TensorShard shard;
    CKPTFS_ASSIGN_OR_RETURN(shard.offsets, SizesOf(pair->items[0], "offsets"));
    shard.tensor = *pair->items[1].AsTensor();
    tensor.shards.push_back(std::move(shard));
  }
  return std::optional<ShardedTensor>(std::move(tensor));
}

}  // namespace ckptfs
