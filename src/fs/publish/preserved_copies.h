// PreservedCopies: keeps bytes for open readers when this mount is about to
// remove or replace their object, as a copy below the reserved prefix. What
// could not be removed there is tried again until the mount ends.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>

#include "common/task.h"
#include "fs/context.h"
#include "fs/tree/inode.h"
#include "fs/tree/namespace.h"

namespace ckptfs::fs {

// Strand only. "REQUIRES: locked" as in Publisher.
class PreservedCopies {
 public:
  static constexpr Duration kRetryDelay = std::chrono::seconds(30);

  PreservedCopies(Context& context, Namespace& names);

  // Copies the base if handles still need it; it is the copy from then on.
  // REQUIRES: locked, and AttributeWriter::Settled.
  Task<Result<void>> Keep(std::shared_ptr<File> file);
  // The object stays after all: undoes that. REQUIRES: locked.
  void Undo(File& file);
  // The last handle is gone, or the mount ends. REQUIRES: locked.
  void Drop(File& file);

  // A copy of what is about to be replaced, for the case that it must be put
  // back; Remove it when that case is over.
  Task<Result<ObjectInfo>> Backup(ObjectInfo object);
  // In the background, and again later if it fails.
  void Remove(std::string key);

  // Removes every copy, whoever still reads it, and what is left over from
  // earlier attempts: the mount ends.
  Task<void> RemoveAll();

 private:
  Task<void> RemoveOne(std::string key);
  void RetryLater();

  Context& context_;
  Namespace& names_;
  std::uint64_t count_ = 0;
  const std::string tag_;  // tells this mount's copies from others'
  std::set<std::string> left_over_;
  bool timer_ = false;
};

}  // namespace ckptfs::fs
