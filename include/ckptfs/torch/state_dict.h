// State dicts of modules and optimizers, in the layout of Python's
// Module.state_dict() and Optimizer.state_dict() (torch 2.13:
// torch/nn/modules/module.py, torch/optim/optimizer.py), so that either side
// loads what the other has saved.
//
// Functions block while they copy, are as thread-safe as the module or
// optimizer they are given, and never throw.
#pragma once

#include <ckptfs/checkpoint/value.h>
#include <ckptfs/export.h>
#include <ckptfs/result.h>
#include <ckptfs/torch/tensor_converter.h>
#include <torch/nn/module.h>
#include <torch/optim/optimizer.h>

#include <string>
#include <vector>

namespace ckptfs::libtorch {

// An OrderedDict from names ("0.weight", "bn.running_mean") to tensors:
// parameters, then buffers, then those of the children, each in the order of
// registration. Buffers of C++ modules are all persistent. The tensors have the
// module's own memory (see TensorConverter) and, as Python's, do not require
// gradients. There is no `_metadata`: C++ modules have no versions.
CKPTFS_EXPORT Result<Value> StateDict(const torch::nn::Module& module,
                                      TensorConverter& tensors);

// Names that did not match, in the order of the module and of the state.
struct IncompatibleKeys {
  std::vector<std::string> missing;     // in the module alone
  std::vector<std::string> unexpected;  // in the state alone
};

// Copies the tensors of `state` (from names to tensors) into the parameters and
// buffers of the module, converting dtype and device. kInvalidArgument: a shape
// that differs, an item that is no tensor or was not loaded; with `strict` also
// missing and unexpected names. The module is unchanged then.
CKPTFS_EXPORT Result<IncompatibleKeys> LoadStateDict(torch::nn::Module& module,
                                                     const Value& state,
                                                     bool strict = true);

// {"state": {0: {"step": ..., "exp_avg": ...}, ...}, "param_groups": [...]} of
// SGD, Adam and AdamW; parameters without a state yet are left out of "state".
// Groups have all the keys that Python's have; those without a counterpart in
// C++ (foreach, fused, maximize, ...) their defaults. kUnsupported: another
// optimizer.
CKPTFS_EXPORT Result<Value> StateDict(const torch::optim::Optimizer& optimizer,
                                      TensorConverter& tensors);

// Sets the options of the groups and the states of their parameters; what the
// optimizer had before is dropped. Tensors of the parameters' dtype and device
// are taken over without a copy, and share memory with `state` from then on.
// Keys that choose an implementation (foreach, fused, capturable,
// differentiable) or belong to others (initial_lr, param_names) are ignored.
//
// kInvalidArgument: groups or parameters that differ in number, values of other
// types; kUnsupported: another optimizer, maximize, or decoupled weight decay
// in Adam (it is that of AdamW). The optimizer is unchanged then.
CKPTFS_EXPORT Result<void> LoadStateDict(torch::optim::Optimizer& optimizer,
                                         const Value& state);

}  // namespace ckptfs::libtorch
