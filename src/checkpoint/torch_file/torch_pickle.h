// TorchPickle: what the names in data.pkl mean: storages and tensors. Source:
// torch 2.13, torch/serialization.py (persistent_load) and torch/_utils.py.
#pragma once

#include <ckptfs/checkpoint/tensor_view.h>
#include <ckptfs/checkpoint/value.h>

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/pickle/pickle_reader.h"

namespace ckptfs {

// For one read. Tensors come out as TensorViews of storages without memory.
class TorchPickle final : public PickleHandler {
 public:
  // With `weights_only`, classes that torch.load(weights_only=True) refuses are
  // an error; without it they become Objects. `safe_globals` are allowed too.
  TorchPickle(bool weights_only, std::vector<Global> safe_globals)
      : weights_only_(weights_only), safe_globals_(std::move(safe_globals)) {}

  Result<void> CheckGlobal(const Global& global) override;
  Result<Value> Reduce(const Global& callable,
                       const std::vector<Value>& args) override;
  Result<Value> Persistent(const Value& id) override;

  // By key: what the pickle said of each storage.
  const std::map<std::string, std::shared_ptr<Storage>, std::less<>>& storages()
      const {
    return storages_;
  }

 private:
  const bool weights_only_;
  const std::vector<Global> safe_globals_;
  std::map<std::string, std::shared_ptr<Storage>, std::less<>> storages_;
};

// The tensor in a value: of a tensor itself, or of a Parameter around one
// (_rebuild_parameter, _rebuild_parameter_with_state). Nullptr: neither.
TensorView* TensorIn(const Value& value);

}  // namespace ckptfs
