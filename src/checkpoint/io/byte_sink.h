// ByteSink: a file of known size that is written in parts and appears whole, in
// one step, or not at all: an object in S3 or a plain file.
#pragma once

#include <ckptfs/object_store.h>

#include <cstdint>
#include <functional>
#include <string>

#include "common/task.h"

namespace ckptfs {

// On one executor, given at construction. Destroyed before Commit has
// succeeded, it leaves nothing behind and the older file untouched.
class ByteSink {
 public:
  virtual ~ByteSink() = default;

  virtual const std::string& name() const = 0;

  // Called on the executor with the bytes of each part that has arrived, before
  // Commit ends. Set before the first Write.
  virtual void OnArrival(std::function<void(std::uint64_t bytes)> fn) = 0;

  // How the caller is to cut the file: parts of this size, the last one
  // shorter. Constant.
  virtual std::uint64_t part_bytes() const = 0;

  // Takes the next part, in order, and returns once it may take another: at
  // once while few are under way. The payload's memory is read until Commit
  // ends. An error of an earlier part shows here or at Commit, and after it
  // nothing more is sent.
  virtual Task<Result<void>> Write(Payload part) = 0;

  // Waits for all parts and publishes them. kPreconditionFailed: the condition
  // did not hold. kOutcomeUnknown: as ObjectWriter::Complete.
  virtual Task<Result<void>> Commit(WriteCondition condition) = 0;

  // Gives the file up and waits until nothing of it is left, which the
  // destructor does in the background. An error names what may be left over.
  // Safe in any state; nothing happens after a Commit that succeeded.
  virtual Task<Result<void>> Abort() = 0;
};

}  // namespace ckptfs
