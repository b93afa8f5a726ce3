// StateSavePlanner: what DefaultSavePlanner of torch 2.13
// (torch/distributed/checkpoint/default_planner.py) makes of a state.
#pragma once

#include <ckptfs/checkpoint/dcp/plan.h>
#include <ckptfs/checkpoint/dcp/sharded_tensor.h>
#include <ckptfs/checkpoint/value.h>
#include <ckptfs/result.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace ckptfs {

// Immutable after construction, and thread-safe.
class StateSavePlanner final : public DcpSavePlanner {
 public:
  // Errors as SaveDcp.
  static Result<std::shared_ptr<StateSavePlanner>> Create(const Value& state);

  // Every value and every shard of this rank.
  const DcpSavePlan& local_plan() const { return plan_; }

  Result<Value> ResolveData(const DcpWriteItem& item) override;

 private:
  StateSavePlanner() = default;
  Result<void> AddTensor(const std::string& fqn, const TensorView& tensor);
  Result<void> AddSharded(const std::string& fqn, const ShardedTensor& tensor);

  DcpSavePlan plan_;
  std::map<DcpIndex, Value> data_;
};

struct DcpGlobalSavePlan {
  std::vector<DcpSavePlan> plans;  // by rank
  DcpMetadata metadata;            // without storage_data
};

// Of all ranks: what several ranks have is left to the one with the fewest
// bytes so far; chunks get their places in the metadata. kInvalidArgument, with
// the fqn: ranks that disagree, chunks that overlap or leave something out.
Result<DcpGlobalSavePlan> MakeGlobalSavePlan(std::vector<DcpSavePlan> plans);

}  // namespace ckptfs
