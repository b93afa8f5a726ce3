// State dicts of modules.
#include <c10/core/GradMode.h>
#include <ckptfs/torch/state_dict.h>
#include <torch/nn/module.h>

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "torch/guarded.h"
#include "torch/tensor_item.h"

namespace ckptfs::libtorch {

namespace {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

// In the order of Python's state_dict(): the module's own first. Undefined
// parameters (a Linear without bias) are not in it.
void Collect(const torch::nn::Module& module, const std::string& prefix,
             NamedTensors& out) {
  for (const auto& item : module.named_parameters(/*recurse=*/false)) {
    out.emplace_back(prefix + item.key(), item.value());
  }
  for (const auto& item : module.named_buffers(/*recurse=*/false)) {
    if (item.value().defined()) {
      out.emplace_back(prefix + item.key(), item.value());
    }
  }
  for (const auto& item : module.named_children()) {
    Collect(*item.value(), prefix + item.key() + ".", out);
  }
}

std::string Sizes(at::IntArrayRef sizes) {
  std::string text = "[";
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    text += (i == 0 ? "" : ", ") + std::to_string(sizes[i]);
  }
  return text + "]";
}

std::string Joined(const std::vector<std::string>& names) {
  constexpr std::size_t kShown = 5;
  std::string text;
  for (std::size_t i = 0; i < names.size() && i < kShown; ++i) {
    text += (i == 0 ? "" : ", ") + names[i];
  }
  if (names.size() > kShown) {
    text += " and " + std::to_string(names.size() - kShown) + " more";
  }
  return text;
}

// Copies from the state into the module, once everything is known to fit.
class Restoring {
 public:
  explicit Restoring(const torch::nn::Module& module) {
    Collect(module, "", tensors_);
    for (auto& [name, tensor] : tensors_) targets_.emplace(name, &tensor);
  }

  Result<void> Match(const Dict& state) {
    for (const auto& [key, value] : state.items()) {
      const std::string* name = key.AsString();
      if (name == nullptr) {
        return Fail(ErrorCode::kInvalidArgument,
                    "a state dict with a key of type " + key.TypeName());
      }
      const auto target = targets_.find(*name);
      if (target == targets_.end()) {
        keys_.unexpected.push_back(*name);
        continue;
      }
      const std::optional<TensorView> view = TensorItem(value);
      if (!view) {
        return Fail(ErrorCode::kInvalidArgument,
                    *name + " is a " + value.TypeName() + ", not a tensor");
      }
      Result<at::Tensor> from = converter_.ToTensor(*view);
      if (!from) return Fail(from.error().WithContext(*name));
      const at::Tensor& to = *target->second;
      if (from->sizes() != to.sizes()) {
        return Fail(ErrorCode::kInvalidArgument,
                    *name + " has the shape " + Sizes(from->sizes()) +
                        " in the state and " + Sizes(to.sizes()) +
                        " in the module");
      }
      copies_.emplace_back(*std::move(from), to);
      matched_.insert(target->first);
    }
    for (const auto& [name, tensor] : tensors_) {
      if (!matched_.contains(name)) keys_.missing.push_back(name);
    }
    return {};
  }

  const IncompatibleKeys& keys() const { return keys_; }

  void Copy() {
    const c10::NoGradGuard no_grad;
    for (auto& [from, to] : copies_) to.copy_(from);
  }

 private:
  NamedTensors tensors_;
  std::map<std::string_view, at::Tensor*> targets_;
  std::set<std::string_view> matched_;
  std::vector<std::pair<at::Tensor, at::Tensor>> copies_;
  IncompatibleKeys keys_;
  TensorConverter converter_;
};

}  // namespace

Result<Value> StateDict(const torch::nn::Module& module,
                        TensorConverter& tensors) {
  return Guarded("state dict", [&]() -> Result<Value> {
    NamedTensors named;
    Collect(module, "", named);
    Dict state(Dict::Type::kOrderedDict);
    for (const auto& [name, tensor] : named) {
      Result<TensorView> view = tensors.FromTensor(tensor);
      if (!view) return Fail(view.error().WithContext(name));
      view->requires_grad = false;  // state_dict() detaches
      state.Assign(name, *std::move(view));
    }
    return Value(std::move(state));
  });
}

Result<IncompatibleKeys> LoadStateDict(torch::nn::Module& module,
                                       const Value& state, bool strict) {
  const Dict* dict = state.AsDict();
  if (dict == nullptr) {
    return Fail(ErrorCode::kInvalidArgument,
                "a state dict is a dict, not a " + state.TypeName());
  }
  return Guarded("load a state dict", [&]() -> Result<IncompatibleKeys> {
    Restoring restoring(module);
    CKPTFS_RETURN_IF_ERROR(restoring.Match(*dict));
    const IncompatibleKeys& keys = restoring.keys();
    if (strict && (!keys.missing.empty() || !keys.unexpected.empty())) {
      std::string text;
      if (!keys.missing.empty()) {
        text = "the state has no " + Joined(keys.missing);
      }
      if (!keys.unexpected.empty()) {
        text += (text.empty() ? "" : "; ") + std::string("the module has no ") +
                Joined(keys.unexpected);
      }
      return Fail(ErrorCode::kInvalidArgument,
                  text + "; load it without strict to leave them out");
    }
    restoring.Copy();
    return keys;
  });
}

}  // namespace ckptfs::libtorch
