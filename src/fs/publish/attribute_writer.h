// AttributeWriter: stores mode, owner and times that changed after a file was
// published, by copying the object onto itself with new metadata.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/task.h"
#include "fs/context.h"
#include "fs/tree/inode.h"
#include "fs/tree/namespace.h"

namespace ckptfs::fs {

// Strand only.
class AttributeWriter {
 public:
  // Idle objects above this keep attribute changes for the life of the mount.
  static constexpr std::uint64_t kSelfCopyLimit = 64ull << 20;
  static constexpr Duration kDelay = std::chrono::seconds(1);

  AttributeWriter(Context& context, Namespace& names)
      : context_(context), names_(names) {}

  // What an upload of the file's bytes is to carry.
  ObjectAttributes ForUpload(const File& file) const;
  // Whether the file shows other attributes than are stored.
  bool Differ(const File& file) const;
  // Stores them soon, if the file is idle then.
  void Changed(const std::shared_ptr<File>& file);
  // Does so now for all that wait.
  Task<void> StoreAll();
  // Waits until no copy of the file onto itself is under way. To be called,
  // with the file locked, before anything that waits and has to do with its
  // object: the copy holds no lock, so that programs can open and write the
  // file meanwhile.
  Task<void> Settled(std::shared_ptr<File> file);

 private:
  Task<void> Store(std::shared_ptr<File> file);
  Task<Result<PutResult>> CopyOntoItself(std::string key, ETag known,
                                         ObjectAttributes attributes);
  // Without the mutex: whoever has it waits for this, or needs no object.
  void Adopt(File& file, PutResult copied, const ObjectAttributes& written);

  Context& context_;
  Namespace& names_;
  std::vector<std::weak_ptr<File>> changes_;
  bool timer_ = false;
};

}  // namespace ckptfs::fs
