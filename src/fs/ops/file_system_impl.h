// The inside of FileSystem: one Task per operation that may wait. Split over
// names.cc, files.cc and attributes.cc by what the operations act on.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "fs/context.h"
#include "fs/file_system.h"
#include "fs/ops/handle.h"
#include "fs/tree/namespace.h"
#include "fs/publish/publisher.h"

namespace ckptfs::fs {

struct FileSystem::Impl {
  Impl(FileSystemParts parts, FileSystemOptions options);

  // names.cc
  Task<Result<Entry>> Lookup(InodeNumber parent, std::string name);
  Task<Result<Entry>> MakeDirectory(Caller caller, InodeNumber parent,
                                    std::string name, mode_t mode);
  Task<Result<void>> RemoveDirectory(InodeNumber parent, std::string name);
  Task<Result<void>> Unlink(InodeNumber parent, std::string name);
  Task<Result<void>> Rename(InodeNumber parent, std::string name,
                            InodeNumber new_parent, std::string new_name,
                            unsigned flags);
  Task<Result<void>> RenameClean(std::shared_ptr<File> file,
                                 std::shared_ptr<Directory> to,
                                 std::string new_name, bool no_replace,
                                 bool* taken);
  // Both set `taken` once the new name has the bytes, whatever fails later.
  Task<Result<void>> RenameDirty(std::shared_ptr<File> file,
                                 std::shared_ptr<Directory> to,
                                 std::string new_name, bool no_replace,
                                 std::shared_ptr<File> replaced, bool* taken);
  Task<Result<std::vector<DirectoryEntry>>> ReadDirectory(
      HandleId handle, std::uint64_t offset, std::size_t max_entries);

  // files.cc
  Task<Result<CreatedFile>> Create(Caller caller, InodeNumber parent,
                                   std::string name, mode_t mode, int flags);
  Task<Result<OpenFile>> Open(Caller caller, std::shared_ptr<File> file,
                              int flags);
  Task<Result<Payload>> Read(std::shared_ptr<Handle> handle,
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
  Task<Result<void>> Fsync(std::shared_ptr<File> file);
  Task<Result<void>> Release(HandleId handle);

  // attributes.cc
  Task<Result<Entry>> SetAttributes(InodeNumber ino, AttributeChange change);
  Task<Result<void>> ChangeSize(std::shared_ptr<File> file, std::uint64_t size);
  Result<std::string> GetXattr(const Inode& inode,
                               const std::string& name) const;
  Task<DrainReport> Drain(SteadyTime deadline);

  Result<std::shared_ptr<Inode>> FindInode(InodeNumber ino) const;
  Result<std::shared_ptr<File>> FindFile(InodeNumber ino) const;
  Result<std::shared_ptr<Directory>> FindDirectory(InodeNumber ino) const;
  Result<std::shared_ptr<Handle>> FindHandle(HandleId id) const;
  Entry EntryOf(Inode& inode);  // adds one to its lookups
  Result<void> CheckWritableMount() const;
  OpenFile OpenHandle(const Caller& caller, const std::shared_ptr<File>& file,
                      int flags);
  void LearnGroup(Handle& handle, pid_t tid);
  // Content changed, through `handle` if there is one.
  void Touch(File& file, Handle* handle);

  Context context;
  Namespace names;
  Publisher publisher;
  std::unordered_map<HandleId, std::shared_ptr<Handle>> handles;
  std::unordered_map<HandleId, std::shared_ptr<DirectoryHandle>> directories;
  std::uint64_t next_handle = 1;
};

}  // namespace ckptfs::fs
