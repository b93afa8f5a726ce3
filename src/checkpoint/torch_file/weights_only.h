// The globals that torch.load(weights_only=True) knows.
#pragma once

#include <ckptfs/checkpoint/value.h>

#include <set>
#include <string>
#include <vector>

namespace ckptfs {

// torch 2.13, torch/_weights_only_unpickler.py (_get_allowed_globals). `extra`:
// what the caller allows besides, as add_safe_globals does; modules sys, os,
// posix and nt stay refused.
bool IsAllowedUnderWeightsOnly(const Global& global,
                               const std::vector<Global>& extra);

}  // namespace ckptfs
