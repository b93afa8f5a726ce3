// FileSource: a plain file, local or on any mount, as a ByteSource.
#pragma once

#include <memory>
#include <string>

#include "checkpoint/io/byte_source.h"
#include "checkpoint/io/unique_fd.h"

namespace ckptfs {

// Reads of several megabytes are shared out over the pool. The open descriptor
// is the version: a file that is replaced by a rename meanwhile is read to its
// end; one that is overwritten in place shows in its size or mtime (kStale).
class FileSource final : public ByteSource {
 public:
  // `pool` runs blocking calls, and outlives the source.
  FileSource(std::string path, Executor& pool);

  const std::string& name() const override { return path_; }
  Task<Result<std::uint64_t>> Open(Destination first,
                                   std::stop_token stop) override;
  Task<Result<void>> Read(std::uint64_t offset, Destination destination,
                          std::stop_token stop) override;

 private:
  struct File;
  const std::string path_;
  Executor& pool_;
  std::shared_ptr<const File> file_;  // set by Open; shared with the pool
};

}  // namespace ckptfs
