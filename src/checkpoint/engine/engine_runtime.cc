#include "checkpoint/engine/engine_runtime.h"

#include <unistd.h>

#include <algorithm>
#include <thread>

namespace ckptfs::internal {

namespace {

int WorkThreads(int wanted) {
  if (wanted > 0) return wanted;
  return std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 2,
                    16);
}

}  // namespace

EngineRuntime::EngineRuntime(const EngineOptions& options)
    : options_(options),
      pid_(getpid()),
      strand_("ckptfs", 1),
      pool_("ckptfs-work", WorkThreads(options.work_threads)) {}

EngineRuntime::~EngineRuntime() = default;

Result<ObjectStore*> EngineRuntime::StoreOf(const std::string& bucket,
                                            const std::string& endpoint_url) {
  const MutexLock lock(mu_);
  const auto [known, added] =
      stores_.try_emplace(std::pair(bucket, endpoint_url));
  if (!added) return known->second.get();
  S3StoreOptions s3 = options_.s3;
  s3.bucket = bucket;
  if (!endpoint_url.empty()) s3.endpoint_url = endpoint_url;
  Result<std::unique_ptr<ObjectStore>> store =
      options_.open_store ? options_.open_store(s3) : OpenS3Store(s3);
  if (!store) {
    stores_.erase(known);
    return Fail(store.error().WithContext("s3://" + bucket));
  }
  known->second = *std::move(store);
  return known->second.get();
}

}  // namespace ckptfs::internal
