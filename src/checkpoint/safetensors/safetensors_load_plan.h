// SafetensorsLoadPlan: which bytes of a safetensors file to fetch, and whereto.
#pragma once

#include <ckptfs/checkpoint/options.h>
#include <ckptfs/checkpoint/safetensors.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/io/wanted_ranges.h"
#include "checkpoint/safetensors/safetensors_header.h"
#include "checkpoint/tensors/load_target.h"

namespace ckptfs {

class SafetensorsLoadPlan {
 public:
  // Memory for the tensors that the filter leaves. kResourceExhausted.
  static Result<SafetensorsLoadPlan> OfNew(const SafetensorsHeader& header,
                                           const LoadOptions& options);

  // Into the tensors of `into`. `names` receives what matched nothing.
  // kInvalidArgument: names, dtypes or shapes that do not match. Nothing is
  // touched yet.
  struct Into {
    std::vector<std::string> missing;
    std::vector<std::string> unexpected;
  };
  static Result<SafetensorsLoadPlan> OfExisting(
      const SafetensorsHeader& header,
      const std::map<std::string, TensorView>& into,
      const LoadIntoOptions& options, Into& names);

  // All tensors of the file, in its order; those that are not loaded have no
  // memory.
  const std::vector<std::pair<std::string, TensorView>>& tensors() const {
    return tensors_;
  }
  const std::vector<WantedRange>& wants() const { return wants_; }
  std::uint64_t bytes() const;
  // Keeps all memory that wants() name.
  std::shared_ptr<void> owner() const { return owners_; }

  // After the bytes are there: blocking, for the pool.
  void CopyRest() const;

 private:
  SafetensorsLoadPlan() = default;
  Result<void> Allocate(TensorView& tensor);
  void Want(const SafetensorsHeader& header, const SafetensorsEntry& entry,
            const TensorView& to);

  std::vector<std::pair<std::string, TensorView>> tensors_;
  std::vector<WantedRange> wants_;
  std::shared_ptr<std::vector<std::shared_ptr<void>>> owners_ =
      std::make_shared<std::vector<std::shared_ptr<void>>>();
  // To copy once everything is there: into what is not contiguous, or shares
  // memory with another target.
  std::vector<std::pair<TensorView, TensorView>> copies_;
  TargetMemory targets_;
};

}  // namespace ckptfs
