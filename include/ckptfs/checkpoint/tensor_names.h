// The names of the tensors in a value.
#pragma once

#include <ckptfs/checkpoint/value.h>
#include <ckptfs/export.h>
#include <ckptfs/result.h>

#include <functional>
#include <string>

namespace ckptfs {

// Calls `fn` for every tensor, in the order of the value. A name is the path to
// the tensor, joined by dots: dict keys (str as they are, int in decimal),
// positions in lists and tuples. That of {"state_dict": {"fc.weight": t}} is
// "state_dict.fc.weight"; that of the first moment of an Adam optimizer,
// "optimizer_states.0.state.0.exp_avg". A Parameter has the name of its tensor;
// tensors inside other objects, and those in the attributes of a Parameter, go
// by the position of their argument, or by the key in the object's state.
//
// A tensor that is reached by two paths is visited under both names. Two paths
// that read the same give the same name twice. kTooLarge: more than 1 million
// visits, or names of more than 128 MiB together, which only a value made to
// that end has. kInvalidArgument: a tensor without a storage, more than 200
// levels, as in a value that contains itself.
CKPTFS_EXPORT Result<void> VisitTensors(
    const Value& value,
    const std::function<void(const std::string& name, TensorView& tensor)>& fn);

}  // namespace ckptfs
