// LoadTargets: where the items of a load go, and which parts of which chunks
// that takes (torch 2.13, planner_helpers.py,
// create_read_items_for_chunk_list).
#pragma once

#include <ckptfs/checkpoint/dcp/plan.h>
#include <ckptfs/checkpoint/dcp/sharded_tensor.h>
#include <ckptfs/result.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace ckptfs {

class LoadTargets final : public DcpLoadPlanner {
 public:
  // The shards are to hold their boxes of the saved tensor. kInvalidArgument:
  // another shape or dtype, no memory, or elements that were not saved; nothing
  // is touched.
  Result<void> AddTensor(const std::string& fqn, const ShardedTensor& tensor,
                         const DcpTensorMetadata& saved);
  void AddValue(const std::string& fqn, std::function<void(Value)> take);

  const DcpLoadPlan& plan() const { return plan_; }

  Result<TensorView> ResolveTensor(const DcpReadItem& item) override;
  Result<void> LoadBytes(const DcpReadItem& item, Value value) override;

 private:
  DcpLoadPlan plan_;
  // By fqn; of a tensor by the index of the shard.
  std::map<std::string, std::vector<TensorView>> shards_;
  std::map<std::string, std::function<void(Value)>> values_;
};

}  // namespace ckptfs
