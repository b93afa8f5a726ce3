// ByteSource: one version of a file to read ranges of: an object in S3 or a
// plain file.
#pragma once

#include <ckptfs/object_store.h>

#include <cstdint>
#include <stop_token>
#include <string>

#include "common/task.h"

namespace ckptfs {

// Tasks run on the executor given at construction; the source outlives them.
// Every byte that is ever delivered is of the version that Open() found.
class ByteSource {
 public:
  virtual ~ByteSource() = default;

  // The URI or path, for messages.
  virtual const std::string& name() const = 0;

  // First of all, once: finds the file and fills `first` with its first bytes
  // (fewer if it is shorter). The result is the size of the file. One request.
  // kNotFound: there is no such file.
  virtual Task<Result<std::uint64_t>> Open(Destination first,
                                           std::stop_token stop) = 0;

  // Fills `destination` from `offset`, in parallel ranges where it is large.
  // kStale: the file was replaced or removed since Open(). kInvalidArgument: it
  // ends before the destination is full. Several may run side by side.
  virtual Task<Result<void>> Read(std::uint64_t offset, Destination destination,
                                  std::stop_token stop) = 0;
};

}  // namespace ckptfs
