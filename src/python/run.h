// Run: a task of the engine from its start to its result, for Python.
#pragma once

#include <ckptfs/engine.h>

#include <stop_token>
#include <utility>

#include "checkpoint/engine/engine_runtime.h"
#include "python/raise.h"
#include "python/wait.h"

namespace ckptfs::python {

// With the GIL held, as Wait. `stop`: whose token the task listens to.
template <typename T>
T Run(Engine& engine, Task<Result<T>> task, std::stop_source stop = {}) {
  internal::EngineRuntime& runtime = engine.runtime();
  Future<T> future = runtime.Start<T>(std::move(task));
  return ValueOrRaise(Wait(runtime.strand(), std::move(future), stop));
}

}  // namespace ckptfs::python
