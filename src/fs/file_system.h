// FileSystem: file-system semantics over an ObjectStore, one method per
// operation. Knows nothing of libfuse.
//
// Everything runs on one strand: methods are called on it, take a Reply and
// never block. Replies may be answered at once or much later, in any order.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/memory_budget.h"
#include "common/slab_pool.h"
#include "fs/kernel_notifier.h"
#include "fs/options.h"
#include "fs/process_oracle.h"
#include "fs/types.h"

namespace ckptfs::fs {

// What fs is built from; all of it outlives the FileSystem.
struct FileSystemParts {
  ObjectStore* store = nullptr;
  Executor* strand = nullptr;  // everything here runs on it
  Executor* work = nullptr;    // costly steps
  Clock* clock = nullptr;
  MemoryBudget* budget = nullptr;
  SlabPool* slabs = nullptr;
  ProcessOracle* oracle = nullptr;
  KernelNotifier* notifier = nullptr;
};

// How the drain ended.
struct DrainReport {
  std::vector<std::string> lost_files;  // torn: named, nothing published
};

class FileSystem {
 public:
  FileSystem(FileSystemParts parts, FileSystemOptions options);
  ~FileSystem();
  FileSystem(const FileSystem&) = delete;
  FileSystem& operator=(const FileSystem&) = delete;

  void Lookup(Caller caller, InodeNumber parent, std::string name,
              Reply<Entry> reply);
  // The kernel drops `count` of the references that Lookup, Mkdir and Create
  // gave it.
  void Forget(InodeNumber ino, std::uint64_t count);
  void GetAttributes(InodeNumber ino, Reply<Entry> reply);
  void SetAttributes(Caller caller, InodeNumber ino, AttributeChange change,
                     Reply<Entry> reply);

  void MakeDirectory(Caller caller, InodeNumber parent, std::string name,
                     mode_t mode, Reply<Entry> reply);
  void RemoveDirectory(InodeNumber parent, std::string name, Reply<void> reply);
  void Unlink(InodeNumber parent, std::string name, Reply<void> reply);
  // `flags` as in renameat2(2); RENAME_NOREPLACE is served, RENAME_EXCHANGE and
  // RENAME_WHITEOUT are kInvalidArgument.
  void Rename(InodeNumber parent, std::string name, InodeNumber new_parent,
              std::string new_name, unsigned flags, Reply<void> reply);

  // `flags` as in open(2).
  void Create(Caller caller, InodeNumber parent, std::string name, mode_t mode,
              int flags, Reply<CreatedFile> reply);
  void Open(Caller caller, InodeNumber ino, int flags, Reply<OpenFile> reply);
  void Read(InodeNumber ino, HandleId handle, std::uint64_t offset,
            std::size_t size, Reply<Payload> reply);
  // fs keeps `data` (large writes) or copies out of it (small ones).
  // `from_page_cache`: late pages of a mapping; the caller is unknown then.
  void Write(Caller caller, InodeNumber ino, HandleId handle,
             std::uint64_t offset, SlabSlice data, bool from_page_cache,
             Reply<std::size_t> reply);
  // Sent for every descriptor that is closed, by whomever; not a close().
  void Flush(Caller caller, InodeNumber ino, HandleId handle,
             Reply<void> reply);
  void Fsync(InodeNumber ino, HandleId handle, Reply<void> reply);
  // The last descriptor is gone; nobody waits for the reply.
  void Release(InodeNumber ino, HandleId handle, Reply<void> reply);

  void OpenDirectory(InodeNumber ino, Reply<HandleId> reply);
  // Entries from `offset` on (0: from the start), at most `max_entries`; empty
  // at the end. "." and ".." are included.
  void ReadDirectory(InodeNumber ino, HandleId handle, std::uint64_t offset,
                     std::size_t max_entries,
                     Reply<std::vector<DirectoryEntry>> reply);
  void ReleaseDirectory(InodeNumber ino, HandleId handle);
  void FsyncDirectory(InodeNumber ino, Reply<void> reply);

  void StatFs(Reply<FileSystemStatistics> reply);
  // kNotFound: no such attribute. The adapter handles the size protocol.
  void GetXattr(InodeNumber ino, std::string name, Reply<std::string> reply);
  void ListXattr(InodeNumber ino, Reply<std::vector<std::string>> reply);
  void SetXattr(InodeNumber ino, std::string name, std::string value,
                Reply<void> reply);

  // Names of files with bytes that are not in S3 yet.
  std::vector<std::string> UnpublishedFiles() const;
  // Publishes what its writers closed, waits for living writers until
  // `deadline`, tears the rest. Called once, before the end.
  void Drain(SteadyTime deadline, Reply<DrainReport> reply);
  // How many files were torn since the mount (each was logged by name).
  std::uint64_t lost_file_count() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ckptfs::fs
