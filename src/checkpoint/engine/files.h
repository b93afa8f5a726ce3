// Files: files by path, in S3 and in file systems alike. What saves, loads and
// the DCP file system are written on.
#pragma once

#include <ckptfs/object_store.h>

#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "checkpoint/engine/engine_runtime.h"
#include "checkpoint/engine/location.h"
#include "checkpoint/io/byte_sink.h"
#include "checkpoint/io/byte_source.h"

namespace ckptfs {

// Every Task runs on the runtime's strand, and inherits the path's errors from
// ParseLocation and from opening the bucket. Messages name the path.
// Thread-safe (it has no state of its own); the runtime outlives it and what it
// makes.
class Files {
 public:
  explicit Files(internal::EngineRuntime& runtime) : runtime_(runtime) {}

  // What to read `path` by; nothing is opened yet (ByteSource::Open does).
  Task<Result<std::unique_ptr<ByteSource>>> Source(std::string path);

  // What to write a file of exactly `size` bytes by. Folders of plain files
  // must exist.
  Task<Result<std::unique_ptr<ByteSink>>> Sink(std::string path,
                                               std::uint64_t size);

  // Writes a file that is in memory.
  Task<Result<void>> Put(std::string path, std::string bytes,
                         WriteCondition condition);
  // The whole of a file of at most `max_bytes`; kTooLarge beyond. Two requests
  // at the most.
  Task<Result<std::string>> GetAll(std::string path, std::uint64_t max_bytes,
                                   std::stop_token stop);

  // A file or object is there; folders are not.
  Task<Result<bool>> Exists(std::string path, std::stop_token stop = {});
  // A file that is not there is a success.
  Task<Result<void>> Remove(std::string path, std::stop_token stop = {});
  // Replaces `to`. In S3 by copy and delete, in parallel parts where large,
  // whatever the size. kNotFound: no such file. kInvalidArgument: the paths lie
  // in different places.
  Task<Result<void>> Rename(std::string from, std::string to);
  // With its parents; one that exists is a success. Nothing in S3, where
  // folders follow from keys.
  Task<Result<void>> MakeFolder(std::string path);
  // Names of the files (not folders) right below a folder, sorted. kNotFound
  // for a plain folder that is not there; empty for a prefix without keys.
  Task<Result<std::vector<std::string>>> List(std::string folder,
                                              std::stop_token stop = {});

 private:
  // Parsed, mounts bypassed.
  Task<Result<Location>> Locate(std::string path);
  // After a direct change.
  Task<void> Tell(Location location);
  // Whether the engine's endpoint is that of a mounted location.
  bool ReachesAs(const Location& location) const;
  Result<ObjectStore*> StoreOf(const Location& location) {
    return runtime_.StoreOf(location.bucket, location.endpoint_url);
  }

  internal::EngineRuntime& runtime_;
};

}  // namespace ckptfs
