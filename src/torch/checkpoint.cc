#include <ckptfs/torch/checkpoint.h>
#include <ckptfs/torch/ivalue.h>

#include <optional>
#include <utility>

#include "torch/tensor_item.h"

namespace ckptfs::libtorch {

namespace {

tl::unexpected<Error> InPart(const std::string& name, const Error& error) {
  return Fail(error.WithContext("part " + name));
}

tl::unexpected<Error> NoPart(const std::string& name) {
  return Fail(ErrorCode::kNotFound, "the checkpoint has no part " + name);
}

}  // namespace

Result<Checkpoint> Checkpoint::FromValue(Value value) {
  if (value.AsDict() == nullptr) {
    return Fail(ErrorCode::kInvalidArgument,
                "a checkpoint is a dict, and this is a " + value.TypeName());
  }
  Checkpoint out;
  out.value_ = std::move(value);
  return out;
}

void Checkpoint::Put(const std::string& name, Value value) {
  value_.AsDict()->Assign(name, std::move(value));
}

Result<void> Checkpoint::Put(const std::string& name,
                             const at::Tensor& tensor) {
  Result<TensorView> view = tensors_.FromTensor(tensor);
  if (!view) return InPart(name, view.error());
  Put(name, Value(*std::move(view)));
  return {};
}

Result<void> Checkpoint::Put(const std::string& name,
                             const torch::nn::Module& module) {
  Result<Value> state = StateDict(module, tensors_);
  if (!state) return InPart(name, state.error());
  Put(name, *std::move(state));
  return {};
}

Result<void> Checkpoint::Put(const std::string& name,
                             const torch::optim::Optimizer& optimizer) {
  Result<Value> state = StateDict(optimizer, tensors_);
  if (!state) return InPart(name, state.error());
  Put(name, *std::move(state));
  return {};
}

Result<void> Checkpoint::PutIValue(const std::string& name,
                                   const c10::IValue& value) {
  Result<Value> converted = FromIValue(value, tensors_);
  if (!converted) return InPart(name, converted.error());
  Put(name, *std::move(converted));
  return {};
}

const Value* Checkpoint::Find(const std::string& name) const {
  return value_.AsDict()->Find(name);
}

Result<at::Tensor> Checkpoint::GetTensor(const std::string& name) {
  const Value* part = Find(name);
  if (part == nullptr) return NoPart(name);
  const std::optional<TensorView> view = TensorItem(*part);
  if (!view) {
    return Fail(
        ErrorCode::kInvalidArgument,
        "part " + name + " is a " + part->TypeName() + ", not a tensor");
  }
  Result<at::Tensor> tensor = tensors_.ToTensor(*view);
  if (!tensor) return InPart(name, tensor.error());
  return tensor;
}

Result<c10::IValue> Checkpoint::GetIValue(const std::string& name) {
  const Value* part = Find(name);
  if (part == nullptr) return NoPart(name);
  Result<c10::IValue> value = ToIValue(*part, tensors_);
  if (!value) return InPart(name, value.error());
  return value;
}

Result<IncompatibleKeys> Checkpoint::Restore(const std::string& name,
                                             torch::nn::Module& module,
                                             bool strict) const {
  const Value* part = Find(name);
  if (part == nullptr) return NoPart(name);
  Result<IncompatibleKeys> loaded = LoadStateDict(module, *part, strict);
  if (!loaded) return InPart(name, loaded.error());
  return loaded;
}

Result<void> Checkpoint::Restore(const std::string& name,
                                 torch::optim::Optimizer& optimizer) const {
  const Value* part = Find(name);
  if (part == nullptr) return NoPart(name);
  const Result<void> loaded = LoadStateDict(optimizer, *part);
  if (!loaded) return InPart(name, loaded.error());
  return {};
}

}  // namespace ckptfs::libtorch
