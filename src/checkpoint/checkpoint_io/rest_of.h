// RestOf: what a load in place leaves to apply.
#pragma once

#include <ckptfs/checkpoint/value.h>

namespace ckptfs {

// `value` without its tensors: dict items that are or hold only tensors are
// left out. Lists, tuples and objects keep their length; a tensor in them
// becomes None. None if nothing else is left. Containers without tensors are
// shared with `value`.
Value RestOf(const Value& value);

}  // namespace ckptfs
