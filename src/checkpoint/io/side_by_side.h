// SideBySide: the same work for 0 ... n-1, some of it at a time, until one
// fails.
#pragma once

#include <ckptfs/executor.h>
#include <ckptfs/result.h>

#include <cstddef>
#include <functional>
#include <stop_token>

#include "common/task.h"

namespace ckptfs {

using IndexedWork =
    std::function<Task<Result<void>>(std::size_t i, std::stop_token stop)>;

// To be awaited on `executor`, where all of the work runs. The first error ends
// it: no more work is begun, what runs is told so by its token, which also
// hears of `stop`, and when all has ended that error is the result.
Task<Result<void>> SideBySide(Executor& executor, std::size_t n,
                              std::size_t at_a_time, std::stop_token stop,
                              IndexedWork work);

}  // namespace ckptfs
