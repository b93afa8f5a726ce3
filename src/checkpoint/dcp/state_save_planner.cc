#include "checkpoint/dcp/state_save_planner.h"

#include <algorithm>
#include <set>
#include <unordered_map>
#include <utility>

#include "checkpoint/dcp/check_metadata.h"
#include "checkpoint/dcp/flatten.h"
#include "checkpoint/torch_file/torch_pickle.h"

namespace ckptfs {

namespace {

tl::unexpected<Error> Bad(std::string what) {
  return Fail(ErrorCode::kInvalidArgument, std::move(what));
}

// For a scalar too: a size of its own.
std::uint64_t BytesOf(const DcpWriteItem& item) {
  if (item.type == DcpWriteItem::Type::kBytes) return 1;
  std::uint64_t bytes = SizeOf(item.properties.dtype);
  for (const std::int64_t size : item.chunk.sizes) {
    bytes *= static_cast<std::uint64_t>(size);
  }
  return std::max<std::uint64_t>(bytes, 1);
}

Result<void> CheckLoaded(const TensorView& tensor) {
  if (tensor.storage == nullptr ||
      tensor.storage->memory.size() != tensor.storage->bytes) {
    return Bad("a tensor without memory");
  }
  return CheckBounds(tensor);
}

// torch/distributed/checkpoint/_dedup_save_plans.py.
void Deduplicate(std::vector<DcpSavePlan>& plans) {
  struct Item {
    std::uint64_t bytes = 0;
    std::vector<std::size_t> ranks;
    std::size_t chosen = 0;
  };
  std::map<DcpIndex, Item> items;
  std::vector<std::map<DcpIndex, Item>::iterator> order;
  for (std::size_t rank = 0; rank < plans.size(); ++rank) {
    for (const DcpWriteItem& item : plans[rank].items) {
      const auto [at, added] = items.try_emplace(item.index);
      if (added) order.push_back(at);
      at->second.bytes = BytesOf(item);
      std::vector<std::size_t>& ranks = at->second.ranks;
      if (ranks.empty() || ranks.back() != rank) ranks.push_back(rank);
    }
  }
  std::vector<std::uint64_t> load(plans.size(), 0);
  for (const auto& at : order) {
    Item& item = at->second;
    item.chosen = *std::min_element(
        item.ranks.begin(), item.ranks.end(),
        [&](std::size_t a, std::size_t b) { return load[a] < load[b]; });
    load[item.chosen] += item.bytes;
  }
  for (std::size_t rank = 0; rank < plans.size(); ++rank) {
    std::set<DcpIndex> kept;
    std::erase_if(plans[rank].items, [&](const DcpWriteItem& item) {
      return items[item.index].chosen != rank ||
             !kept.insert(item.index).second;
    });
  }
}

Result<void> CheckAgreement(const DcpTensorMetadata& known,
                            const DcpWriteItem& item) {
  if (known.size == item.size &&
      known.properties.dtype == item.properties.dtype) {
    return {};
  }
  return Bad(item.index.fqn + ": ranks disagree on its shape or dtype");
}

}  // namespace

Result<std::shared_ptr<StateSavePlanner>> StateSavePlanner::Create(
    const Value& state) {
  CKPTFS_ASSIGN_OR_RETURN(std::vector<FlatValue> values,
                          FlattenState(state, FlattenRule::kCurrent));
  std::shared_ptr<StateSavePlanner> planner(new StateSavePlanner());
  for (FlatValue& flat : values) {
    Result<std::optional<ShardedTensor>> sharded = ShardedTensorOf(flat.value);
    if (!sharded) return Fail(sharded.error().WithContext(flat.fqn));
    Result<void> added;
    if (*sharded) {
      added = planner->AddSharded(flat.fqn, **sharded);
    } else if (const TensorView* tensor = TensorIn(flat.value)) {
      added = planner->AddTensor(flat.fqn, *tensor);
    } else {
      DcpWriteItem item;
      item.index.fqn = flat.fqn;
      planner->data_[item.index] = flat.value;
      planner->plan_.items.push_back(std::move(item));
    }
    if (!added) return Fail(added.error().WithContext(flat.fqn));
    planner->plan_.planner_data[flat.fqn] = std::move(flat.path);
  }
  return planner;
}

Result<void> StateSavePlanner::AddTensor(const std::string& fqn,
                                         const TensorView& tensor) {
  CKPTFS_RETURN_IF_ERROR(CheckLoaded(tensor));
  DcpWriteItem item;
  item.type = DcpWriteItem::Type::kTensor;
  item.index = {fqn, DcpSizes(tensor.shape.size(), 0), {}};
  item.chunk = {*item.index.offset, tensor.shape};
  item.properties.dtype = tensor.dtype;
  item.properties.requires_grad = tensor.requires_grad;
  item.size = tensor.shape;
  data_[item.index] = Value(tensor);
  plan_.items.push_back(std::move(item));
  return {};
}

Result<void> StateSavePlanner::AddSharded(const std::string& fqn,
                                          const ShardedTensor& tensor) {
  for (const TensorShard& shard : tensor.shards) {
    CKPTFS_RETURN_IF_ERROR(CheckLoaded(shard.tensor));
    if (shard.tensor.dtype != tensor.dtype) {
      return Bad("a shard of another dtype than the tensor");
    }
    DcpWriteItem item;
    item.type = DcpWriteItem::Type::kShard;
    item.index = {fqn, shard.offsets, {}};
    item.chunk = {shard.offsets, shard.tensor.shape};
    item.properties.dtype = tensor.dtype;
    item.properties.requires_grad = shard.tensor.requires_grad;
    item.size = tensor.shape;
    DcpTensorMetadata alone{item.properties, item.size, {item.chunk}};
    CKPTFS_RETURN_IF_ERROR(CheckChunks(alone));
    data_[item.index] = Value(shard.tensor);
    plan_.items.push_back(std::move(item));
  }
  return {};
}

Result<Value> StateSavePlanner::ResolveData(const DcpWriteItem& item) {
  const auto found = data_.find(item.index);
  if (found == data_.end()) {
    return Bad(item.index.fqn + ": not in this rank's state");
  }
  return found->second;
}

Result<DcpGlobalSavePlan> MakeGlobalSavePlan(std::vector<DcpSavePlan> plans) {
  DcpGlobalSavePlan global;
  DcpMetadata& metadata = global.metadata;
  metadata.planner_data.emplace();
  // In the order of the state, whoever writes what.
  std::unordered_map<std::string, std::size_t> places;
  for (const DcpSavePlan& plan : plans) {
    for (const DcpWriteItem& item : plan.items) {
      const auto [at, added] =
          places.try_emplace(item.index.fqn, metadata.items.size());
      if (added) {
        if (item.type == DcpWriteItem::Type::kBytes) {
          metadata.items.emplace_back(item.index.fqn, DcpBytesMetadata());
        } else {
          metadata.items.emplace_back(
              item.index.fqn,
              DcpTensorMetadata{item.properties, item.size, {}});
        }
        continue;
      }
      const auto* known =
          std::get_if<DcpTensorMetadata>(&metadata.items[at->second].second);
      if ((known != nullptr) == (item.type == DcpWriteItem::Type::kBytes)) {
        return Bad(item.index.fqn +
                   ": a tensor on one rank and another value on another");
      }
      if (known != nullptr) {
        CKPTFS_RETURN_IF_ERROR(CheckAgreement(*known, item));
      }
    }
    metadata.planner_data->insert(plan.planner_data.begin(),
                                  plan.planner_data.end());
  }
  Deduplicate(plans);
  for (DcpSavePlan& plan : plans) {
    for (DcpWriteItem& item : plan.items) {
      if (item.type == DcpWriteItem::Type::kBytes) continue;
      auto& tensor = std::get<DcpTensorMetadata>(
          metadata.items[places[item.index.fqn]].second);
      item.index.index = static_cast<std::int64_t>(tensor.chunks.size());
      tensor.chunks.push_back(item.chunk);
    }
  }
  for (const auto& [fqn, item] : metadata.items) {
    const auto* tensor = std::get_if<DcpTensorMetadata>(&item);
    if (tensor == nullptr) continue;
    const Result<void> checked = CheckChunks(*tensor);
    if (!checked) return Fail(checked.error().WithContext(fqn));
    CKPTFS_ASSIGN_OR_RETURN(const std::int64_t whole, Volume(tensor->size));
    std::int64_t sum = 0;
    for (const DcpChunk& chunk : tensor->chunks) {
      CKPTFS_ASSIGN_OR_RETURN(const std::int64_t part, Volume(chunk.sizes));
      sum += part;
    }
    if (sum != whole) {
      return Bad(fqn + ": the shards of all ranks hold " + std::to_string(sum) +
                 " of its " + std::to_string(whole) + " elements");
    }
  }
  global.plans = std::move(plans);
  return global;
}

}  // namespace ckptfs
