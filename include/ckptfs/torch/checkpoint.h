// Checkpoint: what a training saves under one name, by parts.
//
//   ckptfs::libtorch::Checkpoint checkpoint;
//   checkpoint.Put("model", *model);
//   checkpoint.Put("optimizer", optimizer);
//   checkpoint.Put("step", step);
//
// In a file it is a dict from names to parts, which torch.load reads with
// weights_only=True.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>
#include <ckptfs/checkpoint/value.h>
#include <ckptfs/export.h>
#include <ckptfs/result.h>
#include <ckptfs/torch/state_dict.h>
#include <ckptfs/torch/tensor_converter.h>

#include <string>

namespace ckptfs::libtorch {

// Parts on the CPU are not copied: while the checkpoint is being saved, the
// tensors that were put must not change. Storages that several parts share are
// saved once.
//
// Not thread-safe. Calls never throw; errors name the part. kNotFound: there is
// no such part.
class CKPTFS_EXPORT Checkpoint {
 public:
  Checkpoint() : value_(Dict()) {}
  // The parts of a file that was loaded. kInvalidArgument: not a dict.
  static Result<Checkpoint> FromValue(Value value);
  Checkpoint(Checkpoint&&) = default;
  Checkpoint& operator=(Checkpoint&&) = default;

  // Adds a part, or replaces it. Scalars, strings and whatever else is a Value:
  void Put(const std::string& name, Value value);
  Result<void> Put(const std::string& name, const at::Tensor& tensor);
  Result<void> Put(const std::string& name, const torch::nn::Module& module);
  Result<void> Put(const std::string& name,
                   const torch::optim::Optimizer& optimizer);
  Result<void> PutIValue(const std::string& name, const c10::IValue& value);

  // Nullptr: there is no such part.
  const Value* Find(const std::string& name) const;
  // On the memory of the checkpoint, where that is on the tensor's device.
  Result<at::Tensor> GetTensor(const std::string& name);
  Result<c10::IValue> GetIValue(const std::string& name);
  // LoadStateDict of a part.
  Result<IncompatibleKeys> Restore(const std::string& name,
                                   torch::nn::Module& module,
                                   bool strict = true) const;
  Result<void> Restore(const std::string& name,
                       torch::optim::Optimizer& optimizer) const;

  // A dict.
  const Value& value() const { return value_; }

 private:
  Value value_;
  TensorConverter tensors_;
};

}  // namespace ckptfs::libtorch
