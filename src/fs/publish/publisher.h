// Publisher: runs the publish state machine of files against S3: commits,
// discards, preserved copies and late attribute changes.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/task.h"
#include "fs/context.h"
#include "fs/tree/inode.h"
#include "fs/tree/namespace.h"

namespace ckptfs::fs {

// Strand only. "REQUIRES: locked" means that the caller holds file->mutex.
class Publisher {
 public:
  Publisher(Context& context, Namespace& names);

  // Feeds one event to the file's state machine and does what it asks for.
  // The result is what the program is to be told. REQUIRES: locked.
  Task<Result<void>> Handle(std::shared_ptr<File> file, PublishEvent event);
  // Takes the mutex, then the same.
  Task<Result<void>> LockAndHandle(std::shared_ptr<File> file,
                                   PublishEvent event);

  // For a rename of a dirty file, whose name is already the new one: commits
  // under it. `no_replace`: kAlreadyExists if the key exists. REQUIRES: locked.
  Task<Result<void>> CommitRenamed(std::shared_ptr<File> file, bool no_replace);

  // Makes `file` writable: creates its DirtyFile from the base. No wait.
  void EnsureDirty(File& file);
  // Applies an event that needs no S3 (write, truncate); REQUIRES: not
  // publishing. kReport gives the error that stays.
  Result<void> Note(File& file, PublishEvent event);
  // An upload may have failed since anybody looked.
  void NoticeFailure(File& file);

  // Copies the base below the reserved prefix when handles still need it,
  // before this mount removes or replaces the object. REQUIRES: locked.
  Task<Result<void>> PreserveForReaders(std::shared_ptr<File> file);
  // The object stays after all: undoes that. REQUIRES: locked.
  void KeepObject(File& file);
  // The last handle is gone. REQUIRES: locked.
  void CleanUpClosed(File& file);
  // Drops what a gone or torn file had sent, in the background.
  void AbandonUpload(File& file);

  // Removes every preserved copy, whoever still reads it: the mount ends.
  Task<void> RemovePreserved();

  // Persists mode, owner and times of an idle file by a self-copy, soon.
  void AttributesChanged(const std::shared_ptr<File>& file);
  // Does so now for all that wait.
  Task<void> PersistAllAttributes();

  // Idle objects above this keep attribute changes for the life of the mount.
  static constexpr std::uint64_t kSelfCopyLimit = 64ull << 20;
  static constexpr Duration kAttributeDelay = std::chrono::seconds(1);

 private:
  Task<Result<void>> Commit(std::shared_ptr<File> file, bool renamed,
                            bool no_replace);
  void Discard(std::shared_ptr<File> file);
  ObjectAttributes AttributesForUpload(const File& file) const;
  Task<void> Abandon(std::shared_ptr<DirtyFile> dirty, std::string path);
  Task<void> RemoveObject(std::string key);
  Task<void> PersistAttributes(std::shared_ptr<File> file);
  bool AttributesDiffer(const File& file) const;

  Context& context_;
  Namespace& names_;
  std::vector<std::weak_ptr<File>> attribute_changes_;
  bool attribute_timer_ = false;
  std::uint64_t preserved_count_ = 0;
  const std::string preserve_tag_;  // tells this mount's copies from others'
};

}  // namespace ckptfs::fs
