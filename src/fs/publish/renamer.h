// Renamer: moves a file's bytes to another name: published ones by a copy
// within S3 and a delete, unpublished ones by publishing them there. Nothing
// that a name has is taken away before its successor is in place.
#pragma once

#include <memory>
#include <string>

#include "common/task.h"
#include "fs/context.h"
#include "fs/publish/publisher.h"
#include "fs/tree/namespace.h"

namespace ckptfs::fs {

// Strand only.
class Renamer {
 public:
  Renamer(Context& context, Namespace& names, Publisher& publisher)
      : context_(context), names_(names), publisher_(publisher) {}

  struct Target {
    std::shared_ptr<Directory> directory;
    std::string name;
    bool no_replace = false;
    std::shared_ptr<File> replaced;  // what has the name now, if anything
  };

  // How far it got, whatever the result says.
  enum class Reached {
    kNothing,  // the new name has what it had
    kUnknown,  // or perhaps it has the file's bytes
    kTaken,    // the new name has the file's bytes
  };

  // The file has its new name in the tree if it succeeds, and also where the
  // bytes are no longer under the old one. REQUIRES: both directories and both
  // files are locked; the file is clean or has unpublished bytes.
  Task<Result<void>> Move(std::shared_ptr<File> file, Target target,
                          Reached* reached);

 private:
  Task<Result<void>> MoveClean(std::shared_ptr<File> file, Target target,
                               Reached* reached);
  // Unpublished bytes, none of them sent yet.
  Task<Result<void>> MoveUnsent(std::shared_ptr<File> file, Target target,
                                Reached* reached);
  // Unpublished bytes that are published under the old name first, be it
  // because their upload has begun there.
  Task<Result<void>> MoveUploading(std::shared_ptr<File> file, Target target,
                                   Reached* reached);
  Task<Result<void>> PutBack(std::shared_ptr<File> file, ObjectInfo backup,
                             Error cause);
  void GiveName(const std::shared_ptr<File>& file, const Target& target);

  Context& context_;
  Namespace& names_;
  Publisher& publisher_;
};

}  // namespace ckptfs::fs
