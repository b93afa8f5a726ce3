// Engine: what every save and load runs on: threads, connections, defaults.
#pragma once

#include <ckptfs/export.h>
#include <ckptfs/object_store.h>
#include <ckptfs/result.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

namespace ckptfs {

namespace internal {
class EngineRuntime;
}

struct EngineOptions {
  // Endpoint, region, credentials, certificates. `bucket` is ignored: every
  // path names its own.
  S3StoreOptions s3;
  // Threads that compute checksums, copy, and read plain files. 0: as many as
  // cores, at least 2, at most 16.
  int work_threads = 0;
  // Parts of an upload (5 MiB to 5 GiB; raised for objects of more than 9,900
  // of them), and how many of one save are on the wire at once.
  std::uint64_t part_bytes = 16ull << 20;
  int parts_in_flight = 8;
  // Ranges of a download, and how many of one load are on the wire at once.
  std::uint64_t range_bytes = 8ull << 20;
  int ranges_in_flight = 16;
  // What one stream of a file (DcpFileSystem::CreateStream) holds in memory:
  // parts that are not sent yet, or ranges that are read ahead.
  std::uint64_t stream_bytes = 96ull << 20;
  // Paths below a mount of ckptfs are recognised and taken in S3 directly, with
  // the credentials above, where there are any.
  bool bypass_mounts = true;
  // How a bucket is opened; empty: OpenS3Store. For decorators and tests.
  std::function<Result<std::unique_ptr<ObjectStore>>(const S3StoreOptions&)>
      open_store;
};

// Thread-safe. Starts nothing until first used; then a few threads, and the
// connections of each bucket that is named. A process that was forked off
// starts its own on first use, and leaves those of its parent alone. Must
// outlive what was made with it.
class CKPTFS_EXPORT Engine {
 public:
  explicit Engine(EngineOptions options = {});
  // Ends its threads. REQUIRES: no call that was given this engine is running.
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  const EngineOptions& options() const { return options_; }

  // For the implementation.
  internal::EngineRuntime& runtime();

 private:
  const EngineOptions options_;
  // Null until first use. INVARIANT: its threads are those of the process that
  // its pid() names; another process replaces it and never touches it.
  std::atomic<internal::EngineRuntime*> runtime_{nullptr};
};

}  // namespace ckptfs
