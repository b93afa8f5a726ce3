// RunOn: a blocking function on a pool, its result as a Future.
#pragma once

#include <ckptfs/executor.h>
#include <ckptfs/future.h>

#include <utility>

namespace ckptfs {

// `fn` returns a Result<T> and runs once, on `pool`.
template <typename T, typename F>
Future<T> RunOn(Executor& pool, F fn) {
  Promise<T> promise;
  Future<T> future = promise.GetFuture();
  pool.Post([fn = std::move(fn), promise = std::move(promise)]() mutable {
    promise.Set(fn());
  });
  return future;
}

}  // namespace ckptfs
