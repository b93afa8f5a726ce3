// FileSystemDispatcher: takes the kernel's requests to the strand on which
// fs::FileSystem lives.
#pragma once

#include <ckptfs/executor.h>

#include "fs/file_system.h"
#include "fuse/dispatcher.h"

namespace ckptfs::fuse {

// Stateless; methods are thread-safe. `file_system` and `strand` outlive every
// call posted here: stop the Session first, then empty the strand.
class FileSystemDispatcher final : public Dispatcher {
 public:
  FileSystemDispatcher(fs::FileSystem& file_system, Executor& strand)
      : fs_(file_system), strand_(strand) {}

  void Lookup(fs::Caller caller, fs::InodeNumber parent, std::string name,
              fs::Reply<fs::Entry> reply) override;
  void Forget(fs::InodeNumber ino, std::uint64_t count) override;
  void GetAttributes(fs::InodeNumber ino, fs::Reply<fs::Entry> reply) override;
  void SetAttributes(fs::Caller caller, fs::InodeNumber ino,
                     fs::AttributeChange change,
                     fs::Reply<fs::Entry> reply) override;
  void MakeDirectory(fs::Caller caller, fs::InodeNumber parent,
                     std::string name, mode_t mode,
                     fs::Reply<fs::Entry> reply) override;
  void RemoveDirectory(fs::InodeNumber parent, std::string name,
                       fs::Reply<void> reply) override;
  void Unlink(fs::InodeNumber parent, std::string name,
              fs::Reply<void> reply) override;
  void Rename(fs::InodeNumber parent, std::string name,
              fs::InodeNumber new_parent, std::string new_name, unsigned flags,
              fs::Reply<void> reply) override;
  void Create(fs::Caller caller, fs::InodeNumber parent, std::string name,
              mode_t mode, int flags,
              fs::Reply<fs::CreatedFile> reply) override;
  void Open(fs::Caller caller, fs::InodeNumber ino, int flags,
            fs::Reply<fs::OpenFile> reply) override;
  void Read(fs::InodeNumber ino, fs::HandleId handle, std::uint64_t offset,
            std::size_t size, fs::Reply<Payload> reply) override;
  void Write(fs::Caller caller, fs::InodeNumber ino, fs::HandleId handle,
             std::uint64_t offset, SlabSlice data, bool from_page_cache,
             fs::Reply<std::size_t> reply) override;
  void Flush(fs::Caller caller, fs::InodeNumber ino, fs::HandleId handle,
             fs::Reply<void> reply) override;
  void Fsync(fs::InodeNumber ino, fs::HandleId handle,
             fs::Reply<void> reply) override;
  void Release(fs::InodeNumber ino, fs::HandleId handle,
               fs::Reply<void> reply) override;
  void OpenDirectory(fs::InodeNumber ino,
                     fs::Reply<fs::HandleId> reply) override;
  void ReadDirectory(fs::InodeNumber ino, fs::HandleId handle,
                     std::uint64_t offset, std::size_t max_entries,
                     fs::Reply<std::vector<fs::DirectoryEntry>> reply) override;
  void ReleaseDirectory(fs::InodeNumber ino, fs::HandleId handle) override;
  void FsyncDirectory(fs::InodeNumber ino, fs::Reply<void> reply) override;
  void StatFs(fs::Reply<fs::FileSystemStatistics> reply) override;
  void GetXattr(fs::InodeNumber ino, std::string name,
                fs::Reply<std::string> reply) override;
  void ListXattr(fs::InodeNumber ino,
                 fs::Reply<std::vector<std::string>> reply) override;
  void SetXattr(fs::InodeNumber ino, std::string name, std::string value,
                fs::Reply<void> reply) override;

 private:
  // Calls a member of FileSystem on the strand with the arguments moved there.
  template <typename... Params, typename... Args>
  void Post(void (fs::FileSystem::*method)(Params...), Args... args);

  fs::FileSystem& fs_;
  Executor& strand_;
};

}  // namespace ckptfs::fuse
