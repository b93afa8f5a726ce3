// The optimizers that are served: what their groups and states hold, under the
// names and with the defaults of torch 2.13, torch/optim/{sgd,adam,adamw}.py.
#pragma once

#include <ATen/ATen.h>
#include <ckptfs/checkpoint/value.h>
#include <ckptfs/result.h>
#include <ckptfs/torch/tensor_converter.h>
#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/sgd.h>

#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "torch/optimizer_fields.h"

namespace ckptfs::libtorch {

// What Python's options have and C++'s have not. `maximize` changes what is
// computed; the others only how.
inline Result<void> CheckMaximize(Fields& group) {
  CKPTFS_ASSIGN_OR_RETURN(const std::optional<bool> maximize,
                          group.Flag("maximize"));
  if (!maximize.value_or(false)) return {};
  return Fail(ErrorCode::kUnsupported,
              "the C++ optimizers of torch cannot maximize");
}

// Sets option `name` where the group has it.
#define CKPTFS_SET_OPTION(options, group, kind, name)                     \
  do {                                                                    \
    CKPTFS_ASSIGN_OR_RETURN(const auto ckptfs_option, group.kind(#name)); \
    if (ckptfs_option) options.name(*ckptfs_option);                      \
  } while (false)

struct SgdKind {
  using Options = torch::optim::SGDOptions;
  using State = torch::optim::SGDParamState;

  static void PutOptions(const Options& options, Dict& group) {
    group.Assign("lr", options.lr());
    group.Assign("momentum", options.momentum());
    group.Assign("dampening", options.dampening());
    group.Assign("weight_decay", options.weight_decay());
    group.Assign("nesterov", options.nesterov());
    group.Assign("maximize", false);
    group.Assign("foreach", Value());
    group.Assign("differentiable", false);
    group.Assign("fused", Value());
  }
  static Result<void> SetOptions(Fields& group, const Dict&, Options& options) {
    CKPTFS_RETURN_IF_ERROR(CheckMaximize(group));
    CKPTFS_SET_OPTION(options, group, Number, lr);
    CKPTFS_SET_OPTION(options, group, Number, momentum);
    CKPTFS_SET_OPTION(options, group, Number, dampening);
    CKPTFS_SET_OPTION(options, group, Number, weight_decay);
    CKPTFS_SET_OPTION(options, group, Flag, nesterov);
    return {};
  }
  static Result<Dict> GetState(const State& state, TensorConverter& tensors) {
    Dict out;
    if (state.momentum_buffer().defined()) {
      CKPTFS_ASSIGN_OR_RETURN(TensorView buffer,
                              tensors.FromTensor(state.momentum_buffer()));
      out.Assign("momentum_buffer", std::move(buffer));
    }
    return out;
  }
  // Null: the state is that of a parameter before its first step.
  static Result<std::unique_ptr<State>> MakeState(Fields& fields,
                                                  const at::Tensor& parameter,
                                                  const Options&) {
    CKPTFS_ASSIGN_OR_RETURN(const at::Tensor buffer,
                            fields.TensorLike("momentum_buffer", parameter));
    if (!buffer.defined()) return nullptr;
    auto state = std::make_unique<State>();
    state->momentum_buffer(buffer);
    return state;
  }
};

template <typename OptionsType, typename StateType, bool decoupled>
struct AdamKind {
  using Options = OptionsType;
  using State = StateType;

  static void PutOptions(const Options& options, Dict& group) {
    const auto [beta1, beta2] = options.betas();
    group.Assign("lr", options.lr());
    group.Assign("betas", Tuple{{beta1, beta2}});
    group.Assign("eps", options.eps());
    group.Assign("weight_decay", options.weight_decay());
    group.Assign("amsgrad", options.amsgrad());
    group.Assign("maximize", false);
    group.Assign("foreach", Value());
    group.Assign("capturable", false);
    group.Assign("differentiable", false);
    group.Assign("fused", Value());
    group.Assign("decoupled_weight_decay", decoupled);
  }
  static Result<void> SetOptions(Fields& group, const Dict& dict,
                                 Options& options) {
    CKPTFS_RETURN_IF_ERROR(CheckMaximize(group));
    CKPTFS_ASSIGN_OR_RETURN(const auto kind,
                            group.Flag("decoupled_weight_decay"));
    // AdamW ignores it, as Python's does.
    if (!decoupled && kind.value_or(false)) {
      return Fail(ErrorCode::kUnsupported,
                  "decoupled weight decay is that of AdamW, not of Adam");
    }
    CKPTFS_SET_OPTION(options, group, Number, lr);
    CKPTFS_SET_OPTION(options, group, Number, eps);
    CKPTFS_SET_OPTION(options, group, Number, weight_decay);
    CKPTFS_SET_OPTION(options, group, Flag, amsgrad);
    const Value* betas = dict.Find("betas");
    if (betas == nullptr) return {};
    const Tuple* tuple = betas->AsTuple();
    const List* list = betas->AsList();
    const std::vector<Value>* items =
        tuple != nullptr ? &tuple->items
                         : (list != nullptr ? &list->items : nullptr);
    if (items == nullptr || items->size() != 2) {
      return Fail(ErrorCode::kInvalidArgument,
                  "betas is not a pair of numbers");
    }
    CKPTFS_ASSIGN_OR_RETURN(const auto beta1,
                            group.NumberOf("betas", &(*items)[0]));
    CKPTFS_ASSIGN_OR_RETURN(const auto beta2,
                            group.NumberOf("betas", &(*items)[1]));
    if (!beta1 || !beta2)
      return Fail(ErrorCode::kInvalidArgument,
                  "betas is not a pair of numbers");
    options.betas({*beta1, *beta2});
    return {};
  }
  static Result<Dict> GetState(const State& state, TensorConverter& tensors) {
    Dict out;
    // A float tensor on the CPU, as _init_group() makes it.
    CKPTFS_ASSIGN_OR_RETURN(
        TensorView step,
        tensors.FromTensor(at::scalar_tensor(static_cast<double>(state.step()),
                                             at::dtype(at::kFloat))));
    out.Assign("step", std::move(step));
    const std::pair<const char*, const at::Tensor&> moments[] = {
        {"exp_avg", state.exp_avg()},
        {"exp_avg_sq", state.exp_avg_sq()},
        {"max_exp_avg_sq", state.max_exp_avg_sq()}};
    for (const auto& [name, tensor] : moments) {
      if (!tensor.defined()) continue;
      CKPTFS_ASSIGN_OR_RETURN(TensorView view, tensors.FromTensor(tensor));
      out.Assign(name, std::move(view));
    }
    return out;
  }
  static Result<std::unique_ptr<State>> MakeState(Fields& fields,
                                                  const at::Tensor& parameter,
                                                  const Options& options) {
    CKPTFS_ASSIGN_OR_RETURN(const std::optional<double> step,
                            fields.Number("step"));
    CKPTFS_ASSIGN_OR_RETURN(const at::Tensor average,
                            fields.TensorLike("exp_avg", parameter));
    CKPTFS_ASSIGN_OR_RETURN(const at::Tensor square,
                            fields.TensorLike("exp_avg_sq", parameter));
    CKPTFS_ASSIGN_OR_RETURN(const at::Tensor max_square,
                            fields.TensorLike("max_exp_avg_sq", parameter));
    if (!step && !average.defined() && !square.defined()) return nullptr;
    // libtorch checks none of this, and would step on undefined tensors.
    if (!step || !(*step >= 0 && *step <= 9e15))
      return Fail(ErrorCode::kInvalidArgument, "no valid step");
    if (!average.defined() || !square.defined()) {
      return Fail(ErrorCode::kInvalidArgument, "no exp_avg or exp_avg_sq");
    }
    if (options.amsgrad() && !max_square.defined()) {
      return Fail(ErrorCode::kInvalidArgument,
                  "no max_exp_avg_sq, and amsgrad is on");
    }
    auto state = std::make_unique<State>();
    state->step(std::llround(*step));
    state->exp_avg(average);
    state->exp_avg_sq(square);
    state->max_exp_avg_sq(max_square);
    return state;
  }
};
using AdamKindOf =
    AdamKind<torch::optim::AdamOptions, torch::optim::AdamParamState, false>;
using AdamWKindOf =
    AdamKind<torch::optim::AdamWOptions, torch::optim::AdamWParamState, true>;

}  // namespace ckptfs::libtorch
