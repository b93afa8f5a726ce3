// IntoMemory: memory for tensors that were described, not loaded.
#pragma once

#include <ckptfs/checkpoint/value.h>
#include <ckptfs/result.h>

#include <functional>
#include <string_view>

namespace ckptfs::libtorch {

// Gives every tensor of `value` that `wanted` (empty: all) names memory for its
// whole storage, zeros; what shared a storage still does. The others keep
// storages without memory, apart from those. kResourceExhausted.
Result<void> GiveMemory(const Value& value,
                        const std::function<bool(std::string_view)>& wanted);

}  // namespace ckptfs::libtorch
