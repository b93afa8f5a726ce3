// FaultObjectStore: forwards every call at once, but for those a test has
// arranged to fail. For tests that need one fault, not a schedule.
//
//   FaultObjectStore store(bucket);
//   store.FailCall(3, Verdict::LoseReply());     // the fourth call of all
//   store.FailNext(StoreOperation::kUploadPart,
//                  Verdict::FailBefore(), 2);    // the next two parts
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <vector>

#include "support/gated_object_store.h"

namespace ckptfs {

// Thread-safe. A policy set with SetPolicy replaces the arranged faults.
class FaultObjectStore final : public GatedObjectStore {
 public:
  explicit FaultObjectStore(ObjectStore& target);

  // The call with that id (0 is the first since construction).
  void FailCall(std::uint64_t id, Verdict verdict);
  // The next `times` calls of that kind; -1: all of them.
  void FailNext(StoreOperation operation, Verdict verdict, int times = 1);
  // Forgets faults that have not happened.
  void ClearFaults();

 private:
  struct Rule {
    StoreOperation operation;
    Verdict verdict;
    int times;
  };
  Verdict Decide(const StoreCall& call);

  std::mutex rules_mu_;  // leaf
  // Guarded by rules_mu_.
  std::map<std::uint64_t, Verdict> by_id_;
  std::vector<Rule> rules_;
};

}  // namespace ckptfs
