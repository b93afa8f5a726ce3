// SimKernel: what the VFS and the FUSE client of Linux do between programs and
// one mount, as far as it decides which requests arrive in which order: the
// name cache, ESTALE and one more lookup, locks of directories and inodes,
// references of descriptions, late RELEASE and FORGET, late pages of mappings.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "common/task.h"
#include "fs/strand_sync.h"
#include "simulation/reference_model.h"
#include "simulation/sim_mount.h"
#include "simulation/sim_process.h"

namespace ckptfs::sim {

class SimKernel {
 public:
  // `programs` runs the system calls below.
  SimKernel(ReferenceModel& model, const ProcessTable& processes,
            std::mt19937_64& random, ManualExecutor& programs)
      : model_(model),
        processes_(processes),
        random_(random),
        programs_(programs) {}

  void Attach(SimMount* mount) { mount_ = mount; }
  // The daemon died: every description is dead.
  void Died();

  // System calls. A path is a name in the root or in one directory below it.
  Task<Result<int>> Open(Thread* t, std::string path, int flags);
  Task<Result<void>> Close(Thread* t, int fd);
  Task<Result<void>> Write(Thread* t, int fd, std::uint64_t offset,
                           std::uint64_t size);
  Task<Result<void>> Read(Thread* t, int fd, std::uint64_t offset,
                          std::uint64_t size);
  Task<Result<void>> Fsync(Thread* t, int fd);
  Task<Result<void>> Ftruncate(Thread* t, int fd, std::uint64_t size);
  Task<Result<void>> Truncate(Thread* t, std::string path, std::uint64_t size);
  Task<Result<void>> Rename(Thread* t, std::string from, std::string to,
                            unsigned flags);
  Task<Result<void>> Unlink(Thread* t, std::string path);
  Task<Result<void>> Mkdir(Thread* t, std::string path);
  Task<Result<void>> Rmdir(Thread* t, std::string path);
  Task<Result<void>> Chmod(Thread* t, std::string path, mode_t mode);
  Task<Result<void>> Stat(Thread* t, std::string path);
  Result<int> Dup(Thread* t, int fd);
  Result<void> Mmap(Thread* t, int fd);
  // A store into a page of the mapping; any page where none is named.
  Result<void> DirtyPage(Description& file,
                         std::optional<std::uint64_t> which = std::nullopt);
  Task<Result<void>> Munmap(Thread* t, std::size_t index);
  // The thread ends; with the last one of its group the descriptors go.
  Task<void> Exit(Thread* t);
  Task<void> CloseOnExec(Thread* t);
  // A child with copies of the descriptors, or a descriptor in a message.
  void CopyTable(const Group& from, Group& to);
  int Install(Group& group, std::shared_ptr<Description> file, bool cloexec);

  // Messages that may be delivered at any time, in any order.
  struct Late {
    std::string what;
    std::function<void()> deliver;
  };
  std::vector<Late> late;
  // Pages that were not written yet: one inode's go out.
  bool has_dirty_pages() const;
  Task<void> WriteSomePages();
  // Memory pressure: drops an inode that nobody uses.
  void EvictOne();
  void DropNames() { names_.clear(); }
  int next_write() const { return static_cast<int>(next_id_); }

 private:
  struct KernelInode {
    fs::InodeNumber ino{};
    std::uint64_t lookups = 0;
    int users = 0;           // descriptions
    std::string directory;   // its path
    fs::StrandMutex lock;    // i_rwsem
    fs::StrandMutex change;  // the model takes one change at a time
    std::set<std::uint64_t> dirty;
    std::vector<std::weak_ptr<Description>> writers;
  };
  using InodePtr = std::shared_ptr<KernelInode>;
  struct Name {
    fs::InodeNumber ino{};
    SteadyTime expires{};
  };
  struct Found {
    InodePtr inode;
    std::shared_ptr<ModelFile> file;  // null: a directory
  };

  Task<Result<InodePtr>> Parent(Thread* t, std::string path);
  Task<Result<Found>> Walk(Thread* t, std::string path, bool cached);
  InodePtr Learn(const fs::Entry& entry, const std::string& path);
  bool Pinned(const KernelInode& inode) const;
  fs::StrandMutex& DirectoryLock(const std::string& path);
  std::shared_ptr<Description> File(Thread* t, int fd);
  void Put(const std::shared_ptr<Description>& file);
  void Forget(const InodePtr& inode);
  void Drop(const InodePtr& inode, const std::string& path);
  Task<void> WritePages(InodePtr inode);
  Task<Result<void>> Flush(Thread* t, std::shared_ptr<Description> file);
  Task<Result<void>> SetSize(Thread* t, InodePtr inode,
                             std::shared_ptr<ModelFile> file,
                             std::shared_ptr<Description> through,
                             std::uint64_t size);
  void Release(const std::shared_ptr<Description>& file);
  // A group that lives, as far as can be seen, wrote unpublished bytes.
  bool WriterLives(const ModelFile& file) const;
  // What the mount does not count as unpublished any more is thrown away.
  bool ThrownAway(SimMount& mount, const ModelFile& file) const;
  fs::Caller CallerOf(const Thread* t) const {
    return {0, 0, t->group->foreign ? 0 : t->tid};
  }
  InodePtr InodeOf(fs::InodeNumber ino);
  std::string Who(const Thread* t) const;

  ReferenceModel& model_;
  const ProcessTable& processes_;
  std::mt19937_64& random_;
  ManualExecutor& programs_;
  SimMount* mount_ = nullptr;
  std::map<fs::InodeNumber, InodePtr> inodes_;
  std::map<std::string, Name> names_;
  std::map<std::string, std::unique_ptr<fs::StrandMutex>> directory_locks_;
  std::vector<std::weak_ptr<Description>> descriptions_;
  static WriteId next_id_;
};

}  // namespace ckptfs::sim
