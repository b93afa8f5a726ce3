// Objects: what a bucket holds, with size, time and ETag, and the calls on many
// keys. What a file system with folders (fsspec) is written on.
#pragma once

#include <ckptfs/object_store.h>

#include <stop_token>
#include <string>
#include <vector>

#include "checkpoint/engine/engine_runtime.h"

namespace ckptfs {

// By bucket and key, with no mount in between: a key may end in a slash (the
// marker of a folder). Every Task runs on the runtime's strand and inherits the
// errors of opening the bucket. Messages name the URI. Thread-safe (it has no
// state of its own); the runtime outlives it.
class Objects {
 public:
  explicit Objects(internal::EngineRuntime& runtime) : runtime_(runtime) {}

  // One page, at most `request.max_keys` keys and prefixes.
  Task<Result<ListResult>> ListPage(std::string bucket, ListRequest request);
  // kNotFound: no such object.
  Task<Result<ObjectInfo>> Info(std::string bucket, std::string key,
                                std::stop_token stop);
  // Inside one bucket, of any size, attributes included. Replaces `to`.
  Task<Result<void>> Copy(std::string bucket, std::string from, std::string to);
  // Any number. A key that is not there is a success; an error names the first
  // key that could not be removed, and all others were tried.
  Task<Result<void>> RemoveAll(std::string bucket,
                               std::vector<std::string> keys,
                               std::stop_token stop);

 private:
  Result<ObjectStore*> StoreOf(const std::string& bucket);

  internal::EngineRuntime& runtime_;
};

}  // namespace ckptfs
