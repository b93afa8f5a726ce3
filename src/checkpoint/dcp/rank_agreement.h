// RankAgreement: one outcome for all ranks, that of the first rank that failed.
#pragma once

#include <ckptfs/checkpoint/dcp/coordination.h>
#include <ckptfs/result.h>

#include <string>
#include <vector>

#include "common/task.h"

namespace ckptfs {

// The values of all ranks, on rank 0 (nothing on the others); or there the
// error of the first rank that has one, with the rank in its message.
Task<Result<std::vector<std::string>>> GatherOutcomes(
    Coordination& coordination, Result<std::string> own);

// The outcome of rank 0, on all.
Task<Result<std::string>> BroadcastOutcome(Coordination& coordination,
                                           Result<std::string> outcome);

// A success if it was one on all ranks; else the error of one of them.
Task<Result<void>> Agree(Coordination& coordination, Result<void> own);

}  // namespace ckptfs
