// The vocabulary between fs and whoever drives it (fuse, the simulation).
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <ckptfs/object_store.h>

#include "common/clock.h"
#include "common/slab_pool.h"

namespace ckptfs::fs {

// Lives as long as the mount; never reused, never derived from a name.
enum class InodeNumber : std::uint64_t {};
enum class HandleId : std::uint64_t {};

inline constexpr InodeNumber kRootInode{1};

// Who asks, as the kernel says.
struct Caller {
  uid_t uid = 0;
  gid_t gid = 0;
  // The calling *thread's* id; 0 when the kernel cannot name it (another pid
  // namespace, write-back of mapped pages).
  pid_t tid = 0;
};

struct Attributes {
  InodeNumber ino{};
  mode_t mode = 0;  // with the file type
  uid_t uid = 0;
  gid_t gid = 0;
  std::uint64_t size = 0;
  nlink_t nlink = 1;
  WallTime mtime{};
  WallTime ctime{};
  WallTime atime{};
};

struct Entry {
  Attributes attributes;
  Duration ttl{};  // how long the kernel may trust name and attributes
};

struct OpenFile {
  HandleId handle{};
  bool direct_io = false;   // bypass the page cache
  bool keep_cache = false;  // pages of an earlier open are still right
};

struct CreatedFile {
  Entry entry;
  OpenFile open;
};

// What setattr changes; unset fields stay.
struct AttributeChange {
  std::optional<std::uint64_t> size;
  std::optional<mode_t> mode;
  std::optional<uid_t> uid;
  std::optional<gid_t> gid;
  std::optional<WallTime> mtime;
  std::optional<WallTime> atime;
  std::optional<HandleId> handle;  // ftruncate and friends
};

struct DirectoryEntry {
  std::string name;
  InodeNumber ino{};
  mode_t type = 0;         // S_IFREG or S_IFDIR
  std::uint64_t next = 0;  // offset that continues behind this entry
};

struct FileSystemStatistics {
  std::uint64_t block_bytes = 0;
  std::uint64_t blocks = 0;
  std::uint64_t free_blocks = 0;
  std::uint64_t files = 0;
  std::uint64_t free_files = 0;
  std::uint32_t name_max = 0;
};

// A one-shot answer to the driver. It may be called on any thread; destroyed
// unused it answers kInternal, so that no caller hangs.
template <typename T>
class Reply {
 public:
  Reply() = default;
  explicit Reply(UniqueFunction<void(Result<T>)> fn) : fn_(std::move(fn)) {}
  Reply(Reply&&) noexcept = default;
  Reply& operator=(Reply&& other) noexcept {
    Drop();
    fn_ = std::exchange(other.fn_, nullptr);
    return *this;
  }
  ~Reply() { Drop(); }

  void operator()(Result<T> result) {
    auto fn = std::exchange(fn_, nullptr);
    fn(std::move(result));
  }

 private:
  void Drop() {
    if (fn_) {
      (*this)(Fail(ErrorCode::kInternal, "request was dropped unanswered"));
    }
  }
  UniqueFunction<void(Result<T>)> fn_;
};

}  // namespace ckptfs::fs
