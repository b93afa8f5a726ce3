// The nodes of the tree: directories and files. Plain state with its
// invariants; Namespace moves names, Publisher moves bytes to S3.
// Strand only.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include <ckptfs/object_store.h>

#include "fs/tree/object_attributes.h"
#include "fs/strand_sync.h"
#include "fs/types.h"
#include "fs/write/dirty_file.h"
#include "fs/publish/publish_state.h"

namespace ckptfs::fs {

class Directory;
class File;

class Inode {
 public:
  Inode(InodeNumber number, mode_t mode) : number(number), mode(mode) {}
  virtual ~Inode() = default;
  Inode(const Inode&) = delete;
  Inode& operator=(const Inode&) = delete;

  virtual Directory* AsDirectory() { return nullptr; }
  virtual File* AsFile() { return nullptr; }

  const InodeNumber number;
  // References the kernel holds (Lookup, Mkdir, Create minus Forget).
  std::uint64_t lookups = 0;

  // Where the inode hangs. INVARIANT: parent == nullptr (unlinked, replaced,
  // or the root), or parent->children[name] is this.
  Directory* parent = nullptr;
  std::string name;  // the last one, for messages, once unlinked

  mode_t mode;  // with the type
  uid_t uid = 0;
  gid_t gid = 0;
  WallTime mtime{};
  WallTime ctime{};
  WallTime atime{};
};

// One complete listing of a directory, as S3 answered.
struct Listing {
  struct Item {
    bool directory = false;
    std::uint64_t size = 0;
    ETag etag;
    WallTime last_modified{};
  };
  SteadyTime taken{};  // when the first request was sent
  std::map<std::string, Item> items;
};

class Directory final : public Inode {
 public:
  using Inode::Inode;
  Directory* AsDirectory() override { return this; }

  // Serialises what changes names in this directory (the kernel does so too,
  // but fs does not rely on it). Two directories: by ascending inode number.
  StrandMutex mutex;
  // Known children; what is not here may still exist in S3.
  std::map<std::string, std::shared_ptr<Inode>> children;
  bool is_root = false;
  bool has_marker = false;
  // Stays until rmdir, although no key implies it: it was emptied here.
  bool sticky = false;

  std::shared_ptr<const Listing> listing;  // the last one; may be old
  // Changes made through this mount, newer than any listing that was asked for
  // before them. true: the name exists.
  struct LocalChange {
    SteadyTime when{};
    bool exists = false;
  };
  std::map<std::string, LocalChange> local_changes;
  // Names that a request found absent, and when it was sent.
  std::map<std::string, SteadyTime> absent;
};

// A Version: an immutable remote base and, while it is written, the bytes that
// are to replace it.
class File final : public Inode {
 public:
  using Inode::Inode;
  File* AsFile() override { return this; }

  std::uint64_t size() const {
    if (dirty) return dirty->size();
    return base ? base->size : 0;
  }
  // Names and sizes come from here, not from S3.
  bool local_truth() const {
    return state != PublishState::kClean || mutex.locked() || !base;
  }

  // Held around everything that may wait and that changes content or
  // publishes it. After a Directory's mutex; two files: by ascending number.
  StrandMutex mutex;
  // The object this Version stands for. INVARIANT: without it the file is new
  // and state != kClean.
  std::optional<ObjectInfo> base;
  StoredAttributes stored;  // as they are in S3; meaningful with base
  PublishState state = PublishState::kClean;
  // INVARIANT: set while state is kDirty, kPublishing or kTorn.
  // Shared with reads, which may wait while it is replaced.
  std::shared_ptr<DirtyFile> dirty;
  std::optional<Error> error;  // set while state is kFailed
  // Created with O_EXCL and not published yet: commit with If-None-Match.
  bool exclusive = false;
  // Created without O_TRUNC under a name that was absent: bytes that another
  // mount put there since must not be replaced unseen.
  bool assumed_absent = false;
  // The last to set mtime was utimens(), not a write.
  bool mtime_explicit = false;
  // Mapped pages arrived since the last publish.
  bool mapped_writes = false;
  // Counts successful publishes; see Handle::wrote_epoch.
  std::uint64_t publish_epoch = 1;
  int open_handles = 0;
  int open_writers = 0;
  // While base is a private copy below the reserved prefix, to be removed with
  // the last handle: the object itself, which this mount removes or replaces.
  // INVARIANT: outside of that unlink or rename, only with kGone.
  std::optional<ObjectInfo> preserved_from;

  // Counts changes of the content; pages cached at an older count are stale.
  std::uint64_t content_generation = 1;
  std::uint64_t cached_generation = 0;
};

// Number -> inode. Strand only.
class InodeTable {
 public:
  explicit InodeTable(std::uint64_t first) : next_(first) {}

  InodeNumber NextNumber() { return InodeNumber{next_++}; }
  void Add(std::shared_ptr<Inode> inode) {
    const InodeNumber n = inode->number;
    inodes_.emplace(n, std::move(inode));
  }
  std::shared_ptr<Inode> Find(InodeNumber n) const {
    const auto it = inodes_.find(n);
    return it == inodes_.end() ? nullptr : it->second;
  }
  void Erase(InodeNumber n) { inodes_.erase(n); }
  const std::unordered_map<InodeNumber, std::shared_ptr<Inode>>& all() const {
    return inodes_;
  }

 private:
  std::uint64_t next_;
  std::unordered_map<InodeNumber, std::shared_ptr<Inode>> inodes_;
};

}  // namespace ckptfs::fs
