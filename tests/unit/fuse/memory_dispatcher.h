// A file system in memory behind the Dispatcher interface: what the kernel
// sends over a real mount can be observed and held back.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "fuse/dispatcher.h"

namespace ckptfs::fuse {

// High enough not to be taken for an inode of another file system.
inline constexpr std::uint64_t kFirstInode = 0x636b'0000'0000'0001ull;

// Thread-safe. Answers at once unless a test holds an operation back.
class MemoryDispatcher : public Dispatcher {
 public:
  struct WriteSeen {
    const void* slab;  // identity
    std::size_t offset_in_slab;
    std::uint64_t offset;
    std::size_t size;
    bool from_page_cache;
    fs::Caller caller;
  };
  struct OpenSeen {
    int flags;
  };

  MemoryDispatcher();

  // How files open; set before the mount is used.
  void set_direct_io(bool on) { direct_io_ = on; }
  void set_keep_cache(bool on) { keep_cache_ = on; }
  // Writes are counted and forgotten.
  void set_drop_data(bool on) { drop_data_ = on; }
  // Slabs that writes came in are kept.
  void set_keep_slabs(bool on) { keep_slabs_ = on; }

  // Adds a file to the root.
  fs::InodeNumber AddFile(const std::string& name, std::string content);
  void SetContent(fs::InodeNumber ino, std::string content);
  std::string Content(const std::string& name);

  std::vector<WriteSeen> writes();
  std::vector<OpenSeen> opens();
  std::vector<std::size_t> read_sizes();
  int releases();
  int lookups();
  int xattr_requests();
  std::uint64_t references(fs::InodeNumber ino);

  // From now on matching operations are queued instead of answered.
  void HoldFlushes(bool on);
  void HoldReads(bool on);
  void HoldWrites(bool on);
  // Waits until `count` operations are held.
  void AwaitHeld(std::size_t count);
  // Answers what is held.
  void ReleaseHeld();

  void Lookup(fs::Caller, fs::InodeNumber parent, std::string name,
              fs::Reply<fs::Entry> reply) override;
  void Forget(fs::InodeNumber ino, std::uint64_t count) override;
  void GetAttributes(fs::InodeNumber ino, fs::Reply<fs::Entry> reply) override;
  void SetAttributes(fs::Caller, fs::InodeNumber ino,
                     fs::AttributeChange change,
                     fs::Reply<fs::Entry> reply) override;
  void MakeDirectory(fs::Caller, fs::InodeNumber parent, std::string name,
                     mode_t mode, fs::Reply<fs::Entry> reply) override;
  void RemoveDirectory(fs::InodeNumber parent, std::string name,
                       fs::Reply<void> reply) override;
  void Unlink(fs::InodeNumber parent, std::string name,
              fs::Reply<void> reply) override;
  void Rename(fs::InodeNumber parent, std::string name,
              fs::InodeNumber new_parent, std::string new_name, unsigned flags,
              fs::Reply<void> reply) override;
  void Create(fs::Caller, fs::InodeNumber parent, std::string name, mode_t mode,
              int flags, fs::Reply<fs::CreatedFile> reply) override;
  void Open(fs::Caller, fs::InodeNumber ino, int flags,
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
  struct Inode {
    fs::Attributes attributes;
    std::shared_ptr<std::string> content = std::make_shared<std::string>();
    std::map<std::string, std::uint64_t> names;  // directories
    std::map<std::string, std::string> xattrs;
    std::uint64_t references = 0;
  };

  // All with mu_ held.
  Inode& At(fs::InodeNumber ino);
  Inode& Make(Inode& parent, const std::string& name, mode_t mode);
  fs::Entry EntryOf(const Inode& inode) const;
  Result<Inode*> Find(fs::InodeNumber parent, const std::string& name);
  void Hold(UniqueFunction<void()> answer);

  std::mutex mu_;
  std::condition_variable cv_;
  bool direct_io_ = false;
  bool keep_cache_ = false;
  bool drop_data_ = false;
  bool keep_slabs_ = false;
  bool hold_flushes_ = false;
  bool hold_reads_ = false;
  bool hold_writes_ = false;
  std::uint64_t next_ino_ = kFirstInode;
  std::uint64_t next_handle_ = 1;
  std::map<std::uint64_t, Inode> inodes_;
  std::vector<WriteSeen> writes_;
  std::vector<OpenSeen> opens_;
  std::vector<std::size_t> read_sizes_;
  std::vector<std::shared_ptr<Slab>> slabs_;
  std::vector<UniqueFunction<void()>> held_;
  int releases_ = 0;
  int lookups_ = 0;
  int xattr_requests_ = 0;
};

}  // namespace ckptfs::fuse
