// The inside of FileSystem: one Task per operation that may wait. Split over
// names.cc, rename.cc, files.cc, callers.cc and
// attributes.cc by what the operations act on.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "fs/context.h"
#include "fs/file_system.h"
#include "fs/ops/handle.h"
#include "fs/publish/publisher.h"
#include "fs/publish/renamer.h"
#include "fs/tree/namespace.h"

namespace ckptfs::fs {

// While this lives, the file's object is being taken away. The mutex is held.
class Leaving {
 public:
  explicit Leaving(std::shared_ptr<File> file) : file_(std::move(file)) {
    if (file_ != nullptr) file_->leaving = true;
  }
  ~Leaving() {
    if (file_ != nullptr) file_->leaving = false;
  }
  Leaving(const Leaving&) = delete;
  Leaving& operator=(const Leaving&) = delete;

 private:
  const std::shared_ptr<File> file_;
};

struct FileSystem::Impl {
  Impl(FileSystemParts parts, FileSystemOptions options);

  // names.cc; rename.cc
  Task<Result<Entry>> Lookup(InodeNumber parent, std::string name);
  Task<Result<Entry>> MakeDirectory(Caller caller, InodeNumber parent,
                                    std::string name, mode_t mode);
  Task<Result<void>> RemoveDirectory(InodeNumber parent, std::string name);
  Task<Result<void>> Unlink(InodeNumber parent, std::string name);
  Task<Result<void>> Rename(InodeNumber parent, std::string name,
                            InodeNumber new_parent, std::string new_name,
                            unsigned flags);
  Task<Result<std::vector<DirectoryEntry>>> ReadDirectory(
      HandleId handle, std::uint64_t offset, std::size_t max_entries);

  // files.cc
  Task<Result<CreatedFile>> Create(Caller caller, InodeNumber parent,
                                   std::string name, mode_t mode, int flags);
  Task<Result<OpenFile>> Open(Caller caller, std::shared_ptr<File> file,
                              int flags);
  Task<Result<void>> Truncate(std::shared_ptr<Handle> handle, ProcessGroup who);
  Task<Result<Payload>> Read(std::shared_ptr<Handle> handle,
                             std::uint64_t offset, std::size_t size);
  Task<Result<Payload>> ReadOnce(std::shared_ptr<Handle> handle,
                                 std::uint64_t offset, std::size_t size);
  // True if it was done at once.
  bool WriteNow(const Caller& caller, Handle& handle, std::uint64_t offset,
                SlabSlice& data, bool from_page_cache,
                Reply<std::size_t>& reply);
  Task<Result<std::size_t>> WriteSlowly(Caller caller,
                                        std::shared_ptr<Handle> handle,
                                        std::uint64_t offset, SlabSlice data,
                                        bool from_page_cache);
  Task<Result<void>> Flush(Caller caller, std::shared_ptr<Handle> handle);
  Task<Result<void>> Release(HandleId handle);

  // attributes.cc
  Task<Result<Entry>> SetAttributes(Caller caller, InodeNumber ino,
                                    AttributeChange change);
  // `handle`: the one it comes through; null for truncate(2) of a path.
  Task<Result<void>> ChangeSize(std::shared_ptr<File> file, std::uint64_t size,
                                std::shared_ptr<Handle> handle,
                                ProcessGroup who);
  Result<std::string> GetXattr(const Inode& inode,
                               const std::string& name) const;
  Task<DrainReport> Drain(SteadyTime deadline);

  Result<std::shared_ptr<Inode>> FindInode(InodeNumber ino) const;
  Result<std::shared_ptr<File>> FindFile(InodeNumber ino) const;
  Result<std::shared_ptr<Directory>> FindDirectory(InodeNumber ino) const;
  Result<std::shared_ptr<Handle>> FindHandle(HandleId id) const;
  Entry EntryOf(Inode& inode);  // adds one to its lookups
  Result<void> CheckWritableMount() const;
  OpenFile OpenHandle(const ProcessGroup& who,
                      const std::shared_ptr<File>& file, int flags);
  // Content changed, through `handle` if there is one.
  void Touch(File& file, Handle* handle);

  // callers.cc
  // Whose thread it is; asked while the thread waits for an answer.
  Task<ProcessGroup> WhoIs(Caller caller);
  // The same, if it was asked lately.
  std::optional<ProcessGroup> KnownThread(const Handle& handle,
                                          const Caller& caller) const;
  void Remember(Handle& handle, const Caller& caller,
                const ProcessGroup& group);
  // Which event a FLUSH is. REQUIRES: the file is locked.
  PublishEvent MeaningOf(const Handle& handle, const FlushWitness& witness);
  // Whether anybody lives who could say that the unpublished bytes are whole.
  bool HasVoucher(const File& file) const;
  // A signal has ended the group. REQUIRES: the file is locked.
  void GroupDied(File& file, const ProcessGroup& group);
  // Whether one of the file's writers lives. REQUIRES: the file is locked.
  Task<bool> WriterLives(std::shared_ptr<File> file);

  Context context;
  Namespace names;
  Publisher publisher;
  Renamer renamer;
  std::unordered_map<HandleId, std::shared_ptr<Handle>> handles;
  std::unordered_map<HandleId, std::shared_ptr<DirectoryHandle>> directories;
  std::uint64_t next_handle = 1;
  bool invisible_seen = false;
};

}  // namespace ckptfs::fs
