// Await: runs a Task on an executor of its own and waits for its result.
#pragma once

#include <ckptfs/future.h>

#include <utility>

#include "common/task.h"

namespace ckptfs {

template <typename T>
Result<T> Await(Executor& executor, Task<Result<T>> task) {
  Promise<T> promise;
  Future<T> future = promise.GetFuture();
  Spawn<Result<T>>(executor, std::move(task),
                   [promise = std::move(promise)](Result<T> result) mutable {
                     promise.Set(std::move(result));
                   });
  return std::move(future).Get();
}

}  // namespace ckptfs
