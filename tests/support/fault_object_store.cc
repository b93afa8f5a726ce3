#include "support/fault_object_store.h"

#include <utility>

namespace ckptfs {

FaultObjectStore::FaultObjectStore(ObjectStore& target)
    : GatedObjectStore(target) {
  SetPolicy([this](const StoreCall& call) { return Decide(call); });
}

void FaultObjectStore::FailCall(std::uint64_t id, Verdict verdict) {
  std::lock_guard lock(rules_mu_);
  by_id_.insert_or_assign(id, std::move(verdict));
}

void FaultObjectStore::FailNext(StoreOperation operation, Verdict verdict,
                                int times) {
  std::lock_guard lock(rules_mu_);
  rules_.push_back({operation, std::move(verdict), times});
}

void FaultObjectStore::ClearFaults() {
  std::lock_guard lock(rules_mu_);
  by_id_.clear();
  rules_.clear();
}

Verdict FaultObjectStore::Decide(const StoreCall& call) {
  std::lock_guard lock(rules_mu_);
  if (const auto it = by_id_.find(call.id); it != by_id_.end()) {
    return it->second;
  }
  for (Rule& rule : rules_) {
    if (rule.operation != call.operation || rule.times == 0) continue;
    if (rule.times > 0) --rule.times;
    return rule.verdict;
  }
  return Verdict::Forward();
}

}  // namespace ckptfs
