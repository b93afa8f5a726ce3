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

#include "fs/publish/file_content.h"
#include "fs/strand_sync.h"
#include "fs/types.h"

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
  // Without a base it is new, and is to be given to Publisher::Create at once.
  File(InodeNumber number, mode_t mode) : Inode(number, mode) {}
  File(InodeNumber number, mode_t mode, ObjectInfo base)
      : Inode(number, mode), content(std::move(base)) {}
  File* AsFile() override { return this; }

  std::uint64_t size() const { return content.size(); }
  // Names and sizes come from here, not from S3.
  bool local_truth() const {
    return content.state() != PublishState::kClean || mutex.locked() ||
           content.storing_attributes() || !content.base();
  }

  // Held around everything that may wait and that changes content or
  // publishes it. After a Directory's mutex; two files: by ascending number.
  StrandMutex mutex;
  FileContent content;

  // An unlink, or a rename onto its name, is taking its object away: who opens
  // it now waits for the mutex, since what readers need was copied by then.
  // Set under the mutex.
  bool leaving = false;

  // The last to set mtime was utimens(), not a write.
  bool mtime_explicit = false;
  // Handles that were not released yet. RELEASE comes late and in any order:
  // only "none" says something, namely that no FLUSH can come any more.
  int open_handles = 0;
  int open_writers = 0;

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
