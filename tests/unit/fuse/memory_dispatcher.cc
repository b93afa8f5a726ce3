#include "unit/fuse/memory_dispatcher.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

namespace ckptfs::fuse {

namespace {

std::uint64_t Number(fs::InodeNumber ino) {
  return static_cast<std::uint64_t>(ino);
}

}  // namespace

MemoryDispatcher::MemoryDispatcher() {
  Inode& root = inodes_[1];
  root.attributes.ino = fs::kRootInode;
  root.attributes.mode = S_IFDIR | 0755;
  root.attributes.nlink = 2;
  root.attributes.uid = geteuid();
  root.attributes.gid = getegid();
}

MemoryDispatcher::Inode& MemoryDispatcher::At(fs::InodeNumber ino) {
  return inodes_.at(Number(ino));
}

MemoryDispatcher::Inode& MemoryDispatcher::Make(Inode& parent,
                                                const std::string& name,
                                                mode_t mode) {
  const std::uint64_t ino = next_ino_++;
  parent.names[name] = ino;
  Inode& inode = inodes_[ino];
  inode.attributes.ino = fs::InodeNumber{ino};
  inode.attributes.mode = mode;
  inode.attributes.uid = geteuid();
  inode.attributes.gid = getegid();
  return inode;
}

fs::Entry MemoryDispatcher::EntryOf(const Inode& inode) const {
  fs::Entry entry;
  entry.attributes = inode.attributes;
  if (!drop_data_) entry.attributes.size = inode.content->size();
  entry.ttl = std::chrono::seconds(1);
  return entry;
}

Result<MemoryDispatcher::Inode*> MemoryDispatcher::Find(
    fs::InodeNumber parent, const std::string& name) {
  Inode& directory = At(parent);
  const auto it = directory.names.find(name);
  if (it == directory.names.end()) {
    return Fail(ErrorCode::kNotFound, name + " does not exist");
  }
  return &inodes_.at(it->second);
}

fs::InodeNumber MemoryDispatcher::AddFile(const std::string& name,
                                          std::string content) {
  std::lock_guard lock(mu_);
  Inode& inode = Make(At(fs::kRootInode), name, S_IFREG | 0644);
  *inode.content = std::move(content);
  return inode.attributes.ino;
}

void MemoryDispatcher::SetContent(fs::InodeNumber ino, std::string content) {
  std::lock_guard lock(mu_);
  At(ino).content = std::make_shared<std::string>(std::move(content));
}

std::string MemoryDispatcher::Content(const std::string& name) {
  std::lock_guard lock(mu_);
  const Result<Inode*> inode = Find(fs::kRootInode, name);
  return inode.has_value() ? *(*inode)->content : std::string();
}

std::vector<MemoryDispatcher::WriteSeen> MemoryDispatcher::writes() {
  std::lock_guard lock(mu_);
  return writes_;
}
std::vector<MemoryDispatcher::OpenSeen> MemoryDispatcher::opens() {
  std::lock_guard lock(mu_);
  return opens_;
}
std::vector<std::size_t> MemoryDispatcher::read_sizes() {
  std::lock_guard lock(mu_);
  return read_sizes_;
}
int MemoryDispatcher::releases() {
  std::lock_guard lock(mu_);
  return releases_;
}
int MemoryDispatcher::lookups() {
  std::lock_guard lock(mu_);
  return lookups_;
}
int MemoryDispatcher::xattr_requests() {
  std::lock_guard lock(mu_);
  return xattr_requests_;
}
std::uint64_t MemoryDispatcher::references(fs::InodeNumber ino) {
  std::lock_guard lock(mu_);
  return At(ino).references;
}

void MemoryDispatcher::HoldFlushes(bool on) {
  std::lock_guard lock(mu_);
  hold_flushes_ = on;
}
void MemoryDispatcher::HoldReads(bool on) {
  std::lock_guard lock(mu_);
  hold_reads_ = on;
}
void MemoryDispatcher::HoldWrites(bool on) {
  std::lock_guard lock(mu_);
  hold_writes_ = on;
}

void MemoryDispatcher::Hold(UniqueFunction<void()> answer) {
  held_.push_back(std::move(answer));
  cv_.notify_all();
}

void MemoryDispatcher::AwaitHeld(std::size_t count) {
  std::unique_lock lock(mu_);
  cv_.wait(lock, [&] { return held_.size() >= count; });
}

void MemoryDispatcher::ReleaseHeld() {
  std::vector<UniqueFunction<void()>> held;
  {
    std::lock_guard lock(mu_);
    held = std::exchange(held_, {});
  }
  for (auto& answer : held) answer();
}

void MemoryDispatcher::Lookup(fs::Caller, fs::InodeNumber parent,
                              std::string name, fs::Reply<fs::Entry> reply) {
  std::unique_lock lock(mu_);
  ++lookups_;
  Result<Inode*> inode = Find(parent, name);
  if (!inode.has_value()) {
    lock.unlock();
    return reply(ckptfs::Fail(inode.error()));
  }
  ++(*inode)->references;
  const fs::Entry entry = EntryOf(**inode);
  lock.unlock();
  reply(entry);
}

void MemoryDispatcher::Forget(fs::InodeNumber ino, std::uint64_t count) {
  std::lock_guard lock(mu_);
  At(ino).references -= count;
}

void MemoryDispatcher::GetAttributes(fs::InodeNumber ino,
                                     fs::Reply<fs::Entry> reply) {
  std::unique_lock lock(mu_);
  const fs::Entry entry = EntryOf(At(ino));
  lock.unlock();
  reply(entry);
}

void MemoryDispatcher::SetAttributes(fs::Caller, fs::InodeNumber ino,
                                     fs::AttributeChange change,
                                     fs::Reply<fs::Entry> reply) {
  std::unique_lock lock(mu_);
  Inode& inode = At(ino);
  if (change.size) inode.content->resize(*change.size);
  if (change.mode) {
    inode.attributes.mode = (inode.attributes.mode & S_IFMT) | *change.mode;
  }
  if (change.uid) inode.attributes.uid = *change.uid;
  if (change.gid) inode.attributes.gid = *change.gid;
  if (change.mtime) inode.attributes.mtime = *change.mtime;
  if (change.atime) inode.attributes.atime = *change.atime;
  const fs::Entry entry = EntryOf(inode);
  lock.unlock();
  reply(entry);
}

void MemoryDispatcher::MakeDirectory(fs::Caller, fs::InodeNumber parent,
                                     std::string name, mode_t mode,
                                     fs::Reply<fs::Entry> reply) {
  std::unique_lock lock(mu_);
  if (Find(parent, name).has_value()) {
    lock.unlock();
    return reply(ckptfs::Fail(ErrorCode::kAlreadyExists, name + " exists"));
  }
  Inode& inode = Make(At(parent), name, S_IFDIR | mode);
  inode.attributes.nlink = 2;
  ++inode.references;
  const fs::Entry entry = EntryOf(inode);
  lock.unlock();
  reply(entry);
}

void MemoryDispatcher::RemoveDirectory(fs::InodeNumber parent, std::string name,
                                       fs::Reply<void> reply) {
  std::unique_lock lock(mu_);
  Result<Inode*> inode = Find(parent, name);
  Result<void> result;
  if (!inode.has_value()) {
    result = ckptfs::Fail(inode.error());
  } else if (!(*inode)->names.empty()) {
    result = ckptfs::Fail(ErrorCode::kNotEmpty, name + " is not empty");
  } else {
    At(parent).names.erase(name);
  }
  lock.unlock();
  reply(result);
}

void MemoryDispatcher::Unlink(fs::InodeNumber parent, std::string name,
                              fs::Reply<void> reply) {
  std::unique_lock lock(mu_);
  const bool there = At(parent).names.erase(name) > 0;
  lock.unlock();
  if (!there) {
    return reply(ckptfs::Fail(ErrorCode::kNotFound, name + " does not exist"));
  }
  reply({});
}

void MemoryDispatcher::Rename(fs::InodeNumber parent, std::string name,
                              fs::InodeNumber new_parent, std::string new_name,
                              unsigned flags, fs::Reply<void> reply) {
  std::unique_lock lock(mu_);
  Result<Inode*> inode = Find(parent, name);
  Result<void> result;
  if (!inode.has_value()) {
    result = ckptfs::Fail(inode.error());
  } else if (flags == 1u && Find(new_parent, new_name).has_value()) {
    result = ckptfs::Fail(ErrorCode::kAlreadyExists, new_name + " exists");
  } else if (flags > 1u) {
    result = ckptfs::Fail(ErrorCode::kInvalidArgument, "exchange");
  } else {
    At(parent).names.erase(name);
    At(new_parent).names[new_name] = Number((*inode)->attributes.ino);
  }
  lock.unlock();
  reply(result);
}

void MemoryDispatcher::Create(fs::Caller, fs::InodeNumber parent,
                              std::string name, mode_t mode, int flags,
                              fs::Reply<fs::CreatedFile> reply) {
  std::unique_lock lock(mu_);
  opens_.push_back({flags});
  Inode& inode = Make(At(parent), name, mode);
  ++inode.references;
  fs::CreatedFile created;
  created.entry = EntryOf(inode);
  created.open = {fs::HandleId{next_handle_++}, direct_io_, keep_cache_};
  lock.unlock();
  reply(created);
}

void MemoryDispatcher::Open(fs::Caller, fs::InodeNumber ino, int flags,
                            fs::Reply<fs::OpenFile> reply) {
  std::unique_lock lock(mu_);
  opens_.push_back({flags});
  if (flags & O_TRUNC) At(ino).content = std::make_shared<std::string>();
  const fs::OpenFile open{fs::HandleId{next_handle_++}, direct_io_,
                          keep_cache_};
  lock.unlock();
  reply(open);
}

void MemoryDispatcher::Read(fs::InodeNumber ino, fs::HandleId,
                            std::uint64_t offset, std::size_t size,
                            fs::Reply<Payload> reply) {
  std::unique_lock lock(mu_);
  read_sizes_.push_back(size);
  const std::string& content = *At(ino).content;
  Payload payload;
  if (offset < content.size()) {
    // A copy: the answer is sent later, and a write may come meanwhile.
    auto bytes =
        std::make_shared<const std::string>(content.substr(offset, size));
    payload.segments.push_back(std::as_bytes(std::span(*bytes)));
    payload.owner = std::move(bytes);
  }
  if (hold_reads_) {
    Hold([reply = std::move(reply), payload = std::move(payload)]() mutable {
      reply(std::move(payload));
    });
    return;
  }
  lock.unlock();
  reply(std::move(payload));
}

void MemoryDispatcher::Write(fs::Caller caller, fs::InodeNumber ino,
                             fs::HandleId, std::uint64_t offset, SlabSlice data,
                             bool from_page_cache,
                             fs::Reply<std::size_t> reply) {
  std::unique_lock lock(mu_);
  if (!drop_data_) {
    writes_.push_back({data.slab.get(), data.offset, offset, data.size,
                       from_page_cache, caller});
    std::string& content = *At(ino).content;
    if (content.size() < offset + data.size) content.resize(offset + data.size);
    content.replace(offset, data.size,
                    reinterpret_cast<const char*>(data.bytes().data()),
                    data.size);
  }
  if (keep_slabs_) slabs_.push_back(data.slab);
  if (hold_writes_) {
    Hold([reply = std::move(reply), n = data.size]() mutable { reply(n); });
    return;
  }
  lock.unlock();
  reply(data.size);
}

void MemoryDispatcher::Flush(fs::Caller, fs::InodeNumber, fs::HandleId,
                             fs::Reply<void> reply) {
  std::unique_lock lock(mu_);
  if (hold_flushes_) {
    Hold([reply = std::move(reply)]() mutable { reply({}); });
    return;
  }
  lock.unlock();
  reply({});
}

void MemoryDispatcher::Fsync(fs::InodeNumber, fs::HandleId,
                             fs::Reply<void> reply) {
  reply({});
}

void MemoryDispatcher::Release(fs::InodeNumber, fs::HandleId,
                               fs::Reply<void> reply) {
  {
    std::lock_guard lock(mu_);
    ++releases_;
  }
  reply({});
}

void MemoryDispatcher::OpenDirectory(fs::InodeNumber,
                                     fs::Reply<fs::HandleId> reply) {
  std::unique_lock lock(mu_);
  const fs::HandleId handle{next_handle_++};
  lock.unlock();
  reply(handle);
}

void MemoryDispatcher::ReadDirectory(
    fs::InodeNumber ino, fs::HandleId, std::uint64_t offset,
    std::size_t max_entries, fs::Reply<std::vector<fs::DirectoryEntry>> reply) {
  std::unique_lock lock(mu_);
  std::vector<fs::DirectoryEntry> list;
  std::uint64_t position = 0;
  for (const auto& [name, number] : At(ino).names) {
    ++position;
    if (position <= offset) continue;
    if (list.size() == max_entries) break;
    list.push_back({name, fs::InodeNumber{number},
                    inodes_.at(number).attributes.mode & S_IFMT, position});
  }
  lock.unlock();
  reply(std::move(list));
}

void MemoryDispatcher::ReleaseDirectory(fs::InodeNumber, fs::HandleId) {}

void MemoryDispatcher::FsyncDirectory(fs::InodeNumber, fs::Reply<void> reply) {
  reply({});
}

void MemoryDispatcher::StatFs(fs::Reply<fs::FileSystemStatistics> reply) {
  fs::FileSystemStatistics s;
  s.block_bytes = 4096;
  s.blocks = 1000;
  s.free_blocks = 900;
  s.files = 10;
  s.free_files = 5;
  s.name_max = 255;
  reply(s);
}

void MemoryDispatcher::GetXattr(fs::InodeNumber ino, std::string name,
                                fs::Reply<std::string> reply) {
  std::unique_lock lock(mu_);
  ++xattr_requests_;
  const auto& xattrs = At(ino).xattrs;
  const auto it = xattrs.find(name);
  if (it == xattrs.end()) {
    lock.unlock();
    return reply(ckptfs::Fail(ErrorCode::kNotFound, "no attribute " + name));
  }
  std::string value = it->second;
  lock.unlock();
  reply(std::move(value));
}

void MemoryDispatcher::ListXattr(fs::InodeNumber ino,
                                 fs::Reply<std::vector<std::string>> reply) {
  std::unique_lock lock(mu_);
  std::vector<std::string> names;
  for (const auto& [name, value] : At(ino).xattrs) names.push_back(name);
  lock.unlock();
  reply(std::move(names));
}

void MemoryDispatcher::SetXattr(fs::InodeNumber ino, std::string name,
                                std::string value, fs::Reply<void> reply) {
  {
    std::lock_guard lock(mu_);
    At(ino).xattrs[name] = std::move(value);
  }
  reply({});
}

}  // namespace ckptfs::fuse
