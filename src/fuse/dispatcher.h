// Dispatcher: where the adapter sends the kernel's requests. Mirrors
// fs::FileSystem one to one; it is an interface of its own so that the adapter
// can be tested over a real mount with a file system in memory.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "fs/types.h"

namespace ckptfs::fuse {

// Methods are called on the receive threads, several at once. They return at
// once and never block: a receive thread that waits stops the whole mount.
// Replies may be answered on any thread, at once or much later, in any order.
// Semantics and errors of each operation are those of fs::FileSystem.
class Dispatcher {
 public:
  virtual ~Dispatcher() = default;

  // Finds a name; the kernel holds one reference on the inode afterwards.
  virtual void Lookup(fs::Caller caller, fs::InodeNumber parent,
                      std::string name, fs::Reply<fs::Entry> reply) = 0;
  // Drops `count` references given by Lookup, MakeDirectory and Create.
  virtual void Forget(fs::InodeNumber ino, std::uint64_t count) = 0;
  virtual void GetAttributes(fs::InodeNumber ino,
                             fs::Reply<fs::Entry> reply) = 0;
  virtual void SetAttributes(fs::Caller caller, fs::InodeNumber ino,
                             fs::AttributeChange change,
                             fs::Reply<fs::Entry> reply) = 0;

  virtual void MakeDirectory(fs::Caller caller, fs::InodeNumber parent,
                             std::string name, mode_t mode,
                             fs::Reply<fs::Entry> reply) = 0;
  virtual void RemoveDirectory(fs::InodeNumber parent, std::string name,
                               fs::Reply<void> reply) = 0;
  virtual void Unlink(fs::InodeNumber parent, std::string name,
                      fs::Reply<void> reply) = 0;
  // `flags` as in renameat2(2).
  virtual void Rename(fs::InodeNumber parent, std::string name,
                      fs::InodeNumber new_parent, std::string new_name,
                      unsigned flags, fs::Reply<void> reply) = 0;

  // `flags` as in open(2).
  virtual void Create(fs::Caller caller, fs::InodeNumber parent,
                      std::string name, mode_t mode, int flags,
                      fs::Reply<fs::CreatedFile> reply) = 0;
  virtual void Open(fs::Caller caller, fs::InodeNumber ino, int flags,
                    fs::Reply<fs::OpenFile> reply) = 0;
  // At most `size` bytes; fewer only at the end of the file.
  virtual void Read(fs::InodeNumber ino, fs::HandleId handle,
                    std::uint64_t offset, std::size_t size,
                    fs::Reply<Payload> reply) = 0;
  // `data` is a part of the slab that the kernel filled; whoever keeps it keeps
  // the slab. `from_page_cache`: late pages of a mapping, the caller is unknown
  // and `handle` is any handle of the inode.
  virtual void Write(fs::Caller caller, fs::InodeNumber ino,
                     fs::HandleId handle, std::uint64_t offset, SlabSlice data,
                     bool from_page_cache, fs::Reply<std::size_t> reply) = 0;
  // A descriptor was closed, by whomever.
  virtual void Flush(fs::Caller caller, fs::InodeNumber ino,
                     fs::HandleId handle, fs::Reply<void> reply) = 0;
  virtual void Fsync(fs::InodeNumber ino, fs::HandleId handle,
                     fs::Reply<void> reply) = 0;
  // The last descriptor is gone.
  virtual void Release(fs::InodeNumber ino, fs::HandleId handle,
                       fs::Reply<void> reply) = 0;

  virtual void OpenDirectory(fs::InodeNumber ino,
                             fs::Reply<fs::HandleId> reply) = 0;
  // At most `max_entries` entries behind `offset`; empty at the end.
  virtual void ReadDirectory(
      fs::InodeNumber ino, fs::HandleId handle, std::uint64_t offset,
      std::size_t max_entries,
      fs::Reply<std::vector<fs::DirectoryEntry>> reply) = 0;
  virtual void ReleaseDirectory(fs::InodeNumber ino, fs::HandleId handle) = 0;
  virtual void FsyncDirectory(fs::InodeNumber ino, fs::Reply<void> reply) = 0;

  virtual void StatFs(fs::Reply<fs::FileSystemStatistics> reply) = 0;
  // kNotFound: no such attribute (ENODATA).
  virtual void GetXattr(fs::InodeNumber ino, std::string name,
                        fs::Reply<std::string> reply) = 0;
  virtual void ListXattr(fs::InodeNumber ino,
                         fs::Reply<std::vector<std::string>> reply) = 0;
  virtual void SetXattr(fs::InodeNumber ino, std::string name,
                        std::string value, fs::Reply<void> reply) = 0;
};

}  // namespace ckptfs::fuse
