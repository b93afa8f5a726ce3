// State dicts of optimizers.
#include <ckptfs/torch/state_dict.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "torch/guarded.h"
#include "torch/optimizer_fields.h"
#include "torch/optimizer_kinds.h"

namespace ckptfs::libtorch {

namespace {

using torch::optim::Optimizer;
using torch::optim::OptimizerParamState;

tl::unexpected<Error> Bad(const std::string& what) {
  return Fail(ErrorCode::kInvalidArgument, what);
}

template <typename Kind>
Result<Value> Save(const Optimizer& optimizer, TensorConverter& tensors) {
  Dict states;
  List groups;
  std::int64_t next_id = 0;
  for (const auto& group : optimizer.param_groups()) {
    Dict options;
    Kind::PutOptions(
        static_cast<const typename Kind::Options&>(group.options()), options);
    List ids;
    for (const at::Tensor& parameter : group.params()) {
      const auto found =
          optimizer.state().find(parameter.unsafeGetTensorImpl());
      if (found != optimizer.state().end()) {
        Result<Dict> state = Kind::GetState(
            static_cast<const typename Kind::State&>(*found->second), tensors);
        if (!state) {
          return Fail(state.error().WithContext("state of parameter " +
                                                std::to_string(next_id)));
        }
        states.Assign(next_id, *std::move(state));
      }
      ids.items.emplace_back(next_id++);
    }
    options.Assign("params", std::move(ids));
    groups.items.emplace_back(std::move(options));
  }
  Dict out;
  out.Assign("state", std::move(states));
  out.Assign("param_groups", std::move(groups));
  return Value(std::move(out));
}

// The parameters' ids in the groups of a file, for those of the optimizer.
struct SavedGroup {
  const Dict* options;
  std::vector<std::int64_t> ids;
};

Result<std::vector<SavedGroup>> SavedGroups(const Value* value,
                                            const Optimizer& optimizer) {
  const List* list = value != nullptr ? value->AsList() : nullptr;
  if (list == nullptr) return Bad("it has no list of param_groups");
  const auto& groups = optimizer.param_groups();
  if (list->items.size() != groups.size()) {
    return Bad("it has " + std::to_string(list->items.size()) +
               " param_groups, the optimizer " + std::to_string(groups.size()));
  }
  std::vector<SavedGroup> out;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const std::string where = "param_groups[" + std::to_string(i) + "]";
    const Dict* options = list->items[i].AsDict();
    const Value* params =
        options != nullptr ? options->Find("params") : nullptr;
    const List* ids = params != nullptr ? params->AsList() : nullptr;
    if (ids == nullptr) return Bad(where + " has no list of params");
    if (ids->items.size() != groups[i].params().size()) {
      return Bad(where + " has " + std::to_string(ids->items.size()) +
                 " parameters, the optimizer's " +
                 std::to_string(groups[i].params().size()));
    }
    SavedGroup group{options, {}};
    for (const Value& id : ids->items) {
      if (!id.AsInt()) return Bad(where + " has a parameter without a number");
      group.ids.push_back(*id.AsInt());
    }
    out.push_back(std::move(group));
  }
  return out;
}

template <typename Kind>
class Load {
 public:
  explicit Load(Optimizer& optimizer) : optimizer_(optimizer) {}

  Result<void> Run(const Dict& saved) {
    CKPTFS_ASSIGN_OR_RETURN(
        const std::vector<SavedGroup> groups,
        SavedGroups(saved.Find("param_groups"), optimizer_));
    const Value* states = saved.Find("state");
    if (states == nullptr || states->AsDict() == nullptr) {
      return Bad("it has no dict of states");
    }
    CKPTFS_RETURN_IF_ERROR(ReadGroups(groups));
    CKPTFS_RETURN_IF_ERROR(ReadStates(*states->AsDict()));
    Apply();
    return {};
  }

 private:
  using Options = typename Kind::Options;

  Result<void> ReadGroups(const std::vector<SavedGroup>& groups) {
    for (std::size_t i = 0; i < groups.size(); ++i) {
      auto& group = optimizer_.param_groups()[i];
      auto options = std::make_unique<Options>(
          static_cast<const Options&>(group.options()));
      Fields fields(*groups[i].options, tensors_);
      Result<void> set = Kind::SetOptions(fields, *groups[i].options, *options);
      if (!set) {
        return Fail(
            set.error().WithContext("param_groups[" + std::to_string(i) + "]"));
      }
      for (std::size_t j = 0; j < groups[i].ids.size(); ++j) {
        const Parameter parameter{group.params()[j], options.get()};
        if (!parameters_.emplace(groups[i].ids[j], parameter).second) {
          return Bad("parameter " + std::to_string(groups[i].ids[j]) +
                     " is in it twice");
        }
      }
      options_.push_back(std::move(options));
    }
    return {};
  }

  Result<void> ReadStates(const Dict& states) {
    for (const auto& [key, value] : states.items()) {
      const std::string where =
          "state of parameter " +
          (key.AsInt() ? std::to_string(*key.AsInt()) : key.TypeName());
      const auto parameter =
          key.AsInt() ? parameters_.find(*key.AsInt()) : parameters_.end();
      if (parameter == parameters_.end()) {
        return Bad(where + ": no group has it");
      }
      const Dict* dict = value.AsDict();
      if (dict == nullptr) return Bad(where + " is a " + value.TypeName());
      Fields fields(*dict, tensors_);
      auto state = Kind::MakeState(fields, parameter->second.tensor,
                                   *parameter->second.options);
      if (!state) return Fail(state.error().WithContext(where));
      if (*state == nullptr) continue;
      states_.emplace_back(parameter->second.tensor.unsafeGetTensorImpl(),
                           *std::move(state));
    }
    return {};
  }

  void Apply() {
    for (std::size_t i = 0; i < options_.size(); ++i) {
      optimizer_.param_groups()[i].set_options(std::move(options_[i]));
    }
    optimizer_.state().clear();
    for (auto& [parameter, state] : states_) {
      optimizer_.state()[parameter] = std::move(state);
    }
  }

  struct Parameter {
    at::Tensor tensor;
    const Options* options;
  };
  Optimizer& optimizer_;
  TensorConverter tensors_;
  std::map<std::int64_t, Parameter> parameters_;  // by their ids in the file
  std::vector<std::unique_ptr<Options>> options_;
  std::vector<std::pair<void*, std::unique_ptr<OptimizerParamState>>> states_;
};

tl::unexpected<Error> UnknownOptimizer() {
  return Fail(ErrorCode::kUnsupported,
              "states of other optimizers than SGD, Adam and AdamW are not "
              "served");
}

}  // namespace

Result<Value> StateDict(const Optimizer& optimizer, TensorConverter& tensors) {
  return Guarded("state dict", [&]() -> Result<Value> {
    if (dynamic_cast<const torch::optim::SGD*>(&optimizer) != nullptr) {
      return Save<SgdKind>(optimizer, tensors);
    }
    if (dynamic_cast<const torch::optim::Adam*>(&optimizer) != nullptr) {
      return Save<AdamKindOf>(optimizer, tensors);
    }
    if (dynamic_cast<const torch::optim::AdamW*>(&optimizer) != nullptr) {
      return Save<AdamWKindOf>(optimizer, tensors);
    }
    return UnknownOptimizer();
  });
}

Result<void> LoadStateDict(Optimizer& optimizer, const Value& state) {
  const Dict* dict = state.AsDict();
  if (dict == nullptr) {
    return Bad("a state dict is a dict, not a " + state.TypeName());
  }
  return Guarded("load a state dict", [&]() -> Result<void> {
    if (dynamic_cast<torch::optim::SGD*>(&optimizer) != nullptr) {
      return Load<SgdKind>(optimizer).Run(*dict);
    }
    if (dynamic_cast<torch::optim::Adam*>(&optimizer) != nullptr) {
      return Load<AdamKindOf>(optimizer).Run(*dict);
    }
    if (dynamic_cast<torch::optim::AdamW*>(&optimizer) != nullptr) {
      return Load<AdamWKindOf>(optimizer).Run(*dict);
    }
    return UnknownOptimizer();
  });
}

}  // namespace ckptfs::libtorch
