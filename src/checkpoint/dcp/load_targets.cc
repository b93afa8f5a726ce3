#include "checkpoint/dcp/load_targets.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "checkpoint/dcp/check_metadata.h"
#include "checkpoint/dcp/tensor_pieces.h"

namespace ckptfs {

namespace {

tl::unexpected<Error> Bad(std::string what) {
  return Fail(ErrorCode::kInvalidArgument, std::move(what));
}

// Nullopt: nothing in common.
std::optional<DcpReadItem> Intersection(const DcpSizes& local_offsets,
                                        const DcpSizes& local_sizes,
                                        const DcpChunk& saved) {
  DcpReadItem item;
  item.type = DcpReadItem::Type::kTensor;
  for (std::size_t d = 0; d < local_sizes.size(); ++d) {
    const std::int64_t begin = std::max(local_offsets[d], saved.offsets[d]);
    const std::int64_t end = std::min(local_offsets[d] + local_sizes[d],
                                      saved.offsets[d] + saved.sizes[d]);
    if (begin >= end) return std::nullopt;
    item.dest_offsets.push_back(begin - local_offsets[d]);
    item.storage_offsets.push_back(begin - saved.offsets[d]);
    item.lengths.push_back(end - begin);
  }
  return item;
}

std::string Text(const DcpSizes& sizes) {
  std::string text;
  for (const std::int64_t size : sizes) {
    text += (text.empty() ? "" : ", ") + std::to_string(size);
  }
  return "(" + text + ")";
}

}  // namespace

Result<void> LoadTargets::AddTensor(const std::string& fqn,
                                    const ShardedTensor& tensor,
                                    const DcpTensorMetadata& saved) {
  if (tensor.shape != saved.size) {
    return Bad(fqn + " was saved with the shape " + Text(saved.size) +
               ", not " + Text(tensor.shape));
  }
  if (tensor.dtype != saved.properties.dtype) {
    return Bad(fqn + " was saved as " +
               std::string(InfoOf(saved.properties.dtype).torch_name) +
               ", not " + std::string(InfoOf(tensor.dtype).torch_name));
  }
  std::vector<TensorView>& shards = shards_[fqn];
  for (const TensorShard& shard : tensor.shards) {
    const TensorView& view = shard.tensor;
    if (view.dtype != tensor.dtype || view.storage == nullptr ||
        view.storage->memory.size() != view.storage->bytes) {
      return Bad(fqn + ": a shard without memory, or of another dtype");
    }
    Result<void> checked = CheckBounds(view);
    if (checked) {
      checked = CheckChunks(
          {saved.properties, saved.size, {{shard.offsets, view.shape}}});
    }
    if (!checked) return Fail(checked.error().WithContext(fqn));
    std::int64_t found = 0;
    for (std::size_t i = 0; i < saved.chunks.size(); ++i) {
      const DcpChunk& chunk = saved.chunks[i];
      std::optional<DcpReadItem> item =
          Intersection(shard.offsets, view.shape, chunk);
      if (!item) continue;
      CKPTFS_ASSIGN_OR_RETURN(const std::int64_t volume, Volume(item->lengths));
      found += volume;
      item->dest_index = {fqn, shard.offsets,
                          static_cast<std::int64_t>(shards.size())};
      item->storage_index = {fqn, chunk.offsets, static_cast<std::int64_t>(i)};
      plan_.items.push_back(*std::move(item));
    }
    if (found != view.numel()) {
      return Bad(fqn + ": of " + std::to_string(view.numel()) +
                 " elements at " + Text(shard.offsets) + " only " +
                 std::to_string(found) + " were saved");
    }
    shards.push_back(view);
  }
  return {};
}

void LoadTargets::AddValue(const std::string& fqn,
                           std::function<void(Value)> take) {
  DcpReadItem item;
  item.dest_index.fqn = fqn;
  item.storage_index.fqn = fqn;
  plan_.items.push_back(std::move(item));
  values_[fqn] = std::move(take);
}

Result<TensorView> LoadTargets::ResolveTensor(const DcpReadItem& item) {
  const auto found = shards_.find(item.dest_index.fqn);
  const auto at = static_cast<std::size_t>(item.dest_index.index.value_or(-1));
  if (found == shards_.end() || at >= found->second.size()) {
    return Bad(item.dest_index.fqn + ": not in this rank's state");
  }
  return Narrowed(found->second[at], item.dest_offsets, item.lengths);
}

Result<void> LoadTargets::LoadBytes(const DcpReadItem& item, Value value) {
  const auto found = values_.find(item.dest_index.fqn);
  if (found == values_.end()) {
    return Bad(item.dest_index.fqn + ": not in this rank's state");
  }
  found->second(std::move(value));
  return {};
}

}  // namespace ckptfs
