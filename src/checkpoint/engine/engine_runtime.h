// EngineRuntime: the running part of an Engine, in one process.
#pragma once

#include <ckptfs/engine.h>
#include <sys/types.h>

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "common/executors.h"
#include "common/mutex.h"
#include "common/task.h"

namespace ckptfs::internal {

// Thread-safe, but for the destructor.
class EngineRuntime {
 public:
  // `options` outlives the runtime.
  explicit EngineRuntime(const EngineOptions& options);
  // Waits for requests that are still on the wire; Tasks must have ended.
  ~EngineRuntime();

  const EngineOptions& options() const { return options_; }
  pid_t pid() const { return pid_; }

  // All Tasks of saves and loads run here, and nothing that blocks.
  Executor& strand() { return strand_; }
  // Blocking calls on files, checksums, copies.
  Executor& pool() { return pool_; }

  // The store of a bucket, opened at first use; lives as long as the runtime.
  // `endpoint_url` overrides that of the options unless it is empty. Errors:
  // those of OpenS3Store.
  Result<ObjectStore*> StoreOf(const std::string& bucket,
                               const std::string& endpoint_url);

  // Runs a Task on the strand. Get() of the result is not to be called on the
  // strand or the pool.
  template <typename T>
  Future<T> Start(Task<Result<T>> task) {
    Promise<T> promise;
    Future<T> future = promise.GetFuture();
    strand_.Post(
        [this, task = std::move(task), promise = std::move(promise)]() mutable {
          Spawn<Result<T>>(strand_, std::move(task),
                           [promise = std::move(promise)](Result<T> r) mutable {
                             promise.Set(std::move(r));
                           });
        });
    return future;
  }

 private:
  const EngineOptions& options_;
  const pid_t pid_;
  // In the order of what posts to what: the stores, which wait for their
  // requests, end first, then the pool, then the strand.
  ThreadPool strand_;
  ThreadPool pool_;
  // Held while a store is opened, which does not talk to the server.
  Mutex mu_;
  // By bucket and endpoint.
  std::map<std::pair<std::string, std::string>, std::unique_ptr<ObjectStore>>
      stores_ CKPTFS_GUARDED_BY(mu_);
};

}  // namespace ckptfs::internal
