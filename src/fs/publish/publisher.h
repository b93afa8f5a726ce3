// Publisher: the single door to a file's content. Feeds events to its state
// machine and runs what they ask for: commits, discards, changes of size.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "common/task.h"
#include "fs/context.h"
#include "fs/process_oracle.h"
#include "fs/publish/attribute_writer.h"
#include "fs/publish/preserved_copies.h"
#include "fs/tree/inode.h"
#include "fs/tree/namespace.h"

namespace ckptfs::fs {

// Who changes a file. Pages of a mapping come from nobody that is known.
struct Writer {
  ProcessGroup group;
  bool page = false;
  static Writer Page() { return {{}, true}; }
};

// Strand only. "REQUIRES: locked" means that the caller holds file->mutex; it
// is asserted.
class Publisher {
 public:
  Publisher(Context& context, Namespace& names);

  // Feeds one event to the file's state machine and does what it asks for.
  // The result is what the program is to be told. REQUIRES: locked.
  Task<Result<void>> Handle(std::shared_ptr<File> file, PublishEvent event);
  // Takes the mutex, then the same.
  Task<Result<void>> LockAndHandle(std::shared_ptr<File> file,
                                   PublishEvent event);

  // A new file, under a name that is free here. `exclusive`: O_EXCL;
  // `assumed_absent`: no O_TRUNC either, so what somebody else has put there
  // meanwhile must not be replaced unseen. No wait.
  void Create(File& file, const Writer& who, bool exclusive,
              bool assumed_absent);

  // Whether Write of that range can follow at once.
  bool CanWrite(File& file, std::uint64_t offset, std::size_t size);
  // Makes it so; may wait for S3 and for memory. After an error the content
  // lacks bytes that its writer believes it wrote: it is failed.
  // REQUIRES: locked.
  Task<Result<void>> PrepareWrite(std::shared_ptr<File> file,
                                  std::uint64_t offset, std::size_t size);
  // REQUIRES: locked; CanWrite, or PrepareWrite just now.
  Result<void> Write(File& file, std::uint64_t offset, SlabSlice data,
                     const Writer& who);
  // A change of size; of 0, a file rewritten from the start. An error changes
  // nothing. REQUIRES: locked.
  Task<Result<void>> Resize(std::shared_ptr<File> file, std::uint64_t size,
                            const Writer& who);
  // A signal has ended the group: it vouches for nothing any more.
  // REQUIRES: locked.
  void Died(File& file, const ProcessGroup& group);

  // An upload may have failed since anybody looked. REQUIRES: locked.
  void NoticeFailure(File& file);
  // The last handle is gone. REQUIRES: locked.
  void CleanUpClosed(File& file);
  // The mount ends: what a gone file has sent is dropped, also while it is
  // open. REQUIRES: locked.
  void AbandonGone(File& file);

  // For Renamer: publishes what is written under the file's present name.
  // REQUIRES: locked.
  Task<Result<void>> Commit(std::shared_ptr<File> file,
                            WriteCondition condition);
  // The condition that the file's history asks for.
  WriteCondition ConditionOf(const File& file) const;
  // The published object lies elsewhere now, or is another one with the same
  // bytes. REQUIRES: locked, kClean.
  void Rebase(File& file, ObjectInfo base);
  // The content is lost with `error`. REQUIRES: locked.
  void Fail(File& file, Error error);

  PreservedCopies& preserved() { return preserved_; }
  AttributeWriter& attributes() { return attributes_; }

 private:
  void EnsureDirty(File& file);
  Result<void> Note(File& file, PublishEvent event);
  void Wrote(File& file, const Writer& who);
  void Discard(std::shared_ptr<File> file, PublishEvent cause);
  void NothingUnpublished(File& file);
  void DropDirty(File& file);
  void AbandonUpload(File& file);
  Task<void> Abandon(std::shared_ptr<DirtyFile> dirty, std::string path);
  void Check(const File& file) const;

  Context& context_;
  Namespace& names_;
  PreservedCopies preserved_;
  AttributeWriter attributes_;
};

}  // namespace ckptfs::fs
