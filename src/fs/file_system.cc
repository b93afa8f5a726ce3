#include "fs/file_system.h"

#include <sys/stat.h>

#include <utility>

#include "common/log.h"
#include "fs/ops/file_system_impl.h"
#include "fs/ops/lost_bytes.h"

namespace ckptfs::fs {

namespace {

// Runs the Task of one operation and answers with its result.
template <typename T>
void Answer(Executor& strand, Task<Result<T>> task, Reply<T> reply) {
  Spawn<Result<T>>(strand, std::move(task),
                   [reply = std::move(reply)](Result<T> result) mutable {
                     reply(std::move(result));
                   });
}

}  // namespace

FileSystem::Impl::Impl(FileSystemParts parts, FileSystemOptions options)
    : context(parts, std::move(options)),
      names(context),
      publisher(context, names),
      renamer(context, names, publisher) {}

Result<std::shared_ptr<Inode>> FileSystem::Impl::FindInode(
    InodeNumber ino) const {
  std::shared_ptr<Inode> inode = names.inodes().Find(ino);
  if (inode == nullptr) {
    return Fail(ErrorCode::kStale, "the inode is not known any more");
  }
  return inode;
}

Result<std::shared_ptr<File>> FileSystem::Impl::FindFile(
    InodeNumber ino) const {
  CKPTFS_ASSIGN_OR_RETURN(std::shared_ptr<Inode> inode, FindInode(ino));
  if (inode->AsFile() == nullptr) {
    return Fail(ErrorCode::kIsDirectory, inode->name + " is a directory");
  }
  return std::static_pointer_cast<File>(inode);
}

Result<std::shared_ptr<Directory>> FileSystem::Impl::FindDirectory(
    InodeNumber ino) const {
  CKPTFS_ASSIGN_OR_RETURN(std::shared_ptr<Inode> inode, FindInode(ino));
  if (inode->AsDirectory() == nullptr) {
    return Fail(ErrorCode::kNotDirectory, inode->name + " is a file");
  }
  if (inode->parent == nullptr && !inode->AsDirectory()->is_root) {
    return Fail(ErrorCode::kNotFound, inode->name + " was removed");
  }
  return std::static_pointer_cast<Directory>(inode);
}

Result<std::shared_ptr<Handle>> FileSystem::Impl::FindHandle(
    HandleId id) const {
  const auto it = handles.find(id);
  if (it == handles.end()) {
    return Fail(ErrorCode::kInvalidArgument, "no such handle");
  }
  return it->second;
}

Entry FileSystem::Impl::EntryOf(Inode& inode) {
  ++inode.lookups;
  return Entry{names.AttributesOf(inode), context.options.attribute_ttl};
}

Result<void> FileSystem::Impl::CheckWritableMount() const {
  if (context.options.read_only) {
    return Fail(ErrorCode::kReadOnly, "the mount is read-only");
  }
  return {};
}

FileSystem::FileSystem(FileSystemParts parts, FileSystemOptions options)
    : impl_(std::make_unique<Impl>(parts, std::move(options))) {}

FileSystem::~FileSystem() = default;

void FileSystem::Lookup(Caller, InodeNumber parent, std::string name,
                        Reply<Entry> reply) {
  Answer(impl_->context.strand, impl_->Lookup(parent, std::move(name)),
         std::move(reply));
}

void FileSystem::Forget(InodeNumber ino, std::uint64_t count) {
  std::shared_ptr<Inode> inode = impl_->names.inodes().Find(ino);
  if (inode == nullptr) return;
  inode->lookups -= std::min(inode->lookups, count);
  impl_->names.DropIfUnused(inode);
}

void FileSystem::GetAttributes(InodeNumber ino, Reply<Entry> reply) {
  Result<std::shared_ptr<Inode>> inode = impl_->FindInode(ino);
  if (!inode) {
    reply(Fail(inode.error()));
    return;
  }
  reply(Entry{impl_->names.AttributesOf(**inode),
              impl_->context.options.attribute_ttl});
}

void FileSystem::SetAttributes(Caller caller, InodeNumber ino,
                               AttributeChange change, Reply<Entry> reply) {
  Answer(impl_->context.strand,
         impl_->SetAttributes(caller, ino, std::move(change)),
         std::move(reply));
}

void FileSystem::MakeDirectory(Caller caller, InodeNumber parent,
                               std::string name, mode_t mode,
                               Reply<Entry> reply) {
  Answer(impl_->context.strand,
         impl_->MakeDirectory(caller, parent, std::move(name), mode),
         std::move(reply));
}

void FileSystem::RemoveDirectory(InodeNumber parent, std::string name,
                                 Reply<void> reply) {
  Answer(impl_->context.strand, impl_->RemoveDirectory(parent, std::move(name)),
         std::move(reply));
}

void FileSystem::Unlink(InodeNumber parent, std::string name,
                        Reply<void> reply) {
  Answer(impl_->context.strand, impl_->Unlink(parent, std::move(name)),
         std::move(reply));
}

void FileSystem::Rename(InodeNumber parent, std::string name,
                        InodeNumber new_parent, std::string new_name,
                        unsigned flags, Reply<void> reply) {
  Answer(impl_->context.strand,
         impl_->Rename(parent, std::move(name), new_parent, std::move(new_name),
                       flags),
         std::move(reply));
}

void FileSystem::Create(Caller caller, InodeNumber parent, std::string name,
                        mode_t mode, int flags, Reply<CreatedFile> reply) {
  Answer(impl_->context.strand,
         impl_->Create(caller, parent, std::move(name), mode, flags),
         std::move(reply));
}

void FileSystem::Open(Caller caller, InodeNumber ino, int flags,
                      Reply<OpenFile> reply) {
  Result<std::shared_ptr<File>> file = impl_->FindFile(ino);
  if (!file) {
    reply(Fail(file.error()));
    return;
  }
  Answer(impl_->context.strand, impl_->Open(caller, *std::move(file), flags),
         std::move(reply));
}

void FileSystem::Read(InodeNumber, HandleId handle, std::uint64_t offset,
                      std::size_t size, Reply<Payload> reply) {
  Result<std::shared_ptr<Handle>> found = impl_->FindHandle(handle);
  if (!found) {
    reply(Fail(found.error()));
    return;
  }
  Answer(impl_->context.strand, impl_->Read(*std::move(found), offset, size),
         std::move(reply));
}

void FileSystem::Write(Caller caller, InodeNumber, HandleId handle,
                       std::uint64_t offset, SlabSlice data,
                       bool from_page_cache, Reply<std::size_t> reply) {
  Result<std::shared_ptr<Handle>> found = impl_->FindHandle(handle);
  if (!found) {
    reply(Fail(found.error()));
    return;
  }
  if (impl_->WriteNow(caller, **found, offset, data, from_page_cache, reply)) {
    return;
  }
  Answer(impl_->context.strand,
         impl_->WriteSlowly(caller, *std::move(found), offset, std::move(data),
                            from_page_cache),
         std::move(reply));
}

void FileSystem::Flush(Caller caller, InodeNumber, HandleId handle,
                       Reply<void> reply) {
  Result<std::shared_ptr<Handle>> found = impl_->FindHandle(handle);
  if (!found) {
    reply(Fail(found.error()));
    return;
  }
  Answer(impl_->context.strand, impl_->Flush(caller, *std::move(found)),
         std::move(reply));
}

void FileSystem::Fsync(InodeNumber, HandleId handle, Reply<void> reply) {
  Result<std::shared_ptr<Handle>> found = impl_->FindHandle(handle);
  if (!found) {
    reply(Fail(found.error()));
    return;
  }
  if ((*found)->lost()) {
    reply(Fail(LostBytes(**found)));
    return;
  }
  // As on a disk, everything is made durable, whoever asks.
  Answer(impl_->context.strand,
         impl_->publisher.LockAndHandle(
             (*found)->file, (*found)->writable ? PublishEvent::kFsync
                                                : PublishEvent::kFsyncReader),
         std::move(reply));
}

void FileSystem::Release(InodeNumber, HandleId handle, Reply<void> reply) {
  Answer(impl_->context.strand, impl_->Release(handle), std::move(reply));
}

void FileSystem::OpenDirectory(InodeNumber ino, Reply<HandleId> reply) {
  Result<std::shared_ptr<Inode>> inode = impl_->FindInode(ino);
  if (!inode || (*inode)->AsDirectory() == nullptr) {
    reply(inode ? Fail(ErrorCode::kNotDirectory, (*inode)->name + " is a file")
                : Fail(inode.error()));
    return;
  }
  auto handle = std::make_shared<DirectoryHandle>();
  handle->directory = std::static_pointer_cast<Directory>(*inode);
  const HandleId id{impl_->next_handle++};
  impl_->directories.emplace(id, std::move(handle));
  reply(id);
}

void FileSystem::ReadDirectory(InodeNumber, HandleId handle,
                               std::uint64_t offset, std::size_t max_entries,
                               Reply<std::vector<DirectoryEntry>> reply) {
  Answer(impl_->context.strand,
         impl_->ReadDirectory(handle, offset, max_entries), std::move(reply));
}

void FileSystem::ReleaseDirectory(InodeNumber, HandleId handle) {
  impl_->directories.erase(handle);
}

void FileSystem::FsyncDirectory(InodeNumber ino, Reply<void> reply) {
  // Every name operation is in S3 before it is answered.
  Result<std::shared_ptr<Inode>> inode = impl_->FindInode(ino);
  if (!inode) {
    reply(Fail(inode.error()));
    return;
  }
  reply({});
}

void FileSystem::StatFs(Reply<FileSystemStatistics> reply) {
  // A bucket has no size. Large, plausible, and free: programs that check for
  // space must not be stopped by it.
  FileSystemStatistics s;
  s.block_bytes = 1u << 20;
  s.blocks = s.free_blocks = 1ull << 40;
  s.files = s.free_files = 1ull << 40;
  s.name_max = 255;
  reply(s);
}

void FileSystem::GetXattr(InodeNumber ino, std::string name,
                          Reply<std::string> reply) {
  Result<std::shared_ptr<Inode>> inode = impl_->FindInode(ino);
  if (!inode) {
    reply(Fail(inode.error()));
    return;
  }
  reply(impl_->GetXattr(**inode, name));
}

void FileSystem::ListXattr(InodeNumber ino,
                           Reply<std::vector<std::string>> reply) {
  Result<std::shared_ptr<Inode>> inode = impl_->FindInode(ino);
  if (!inode) {
    reply(Fail(inode.error()));
    return;
  }
  std::vector<std::string> present;
  for (const char* name :
       {"user.ckptfs.uri", "user.ckptfs.endpoint", "user.ckptfs.durable",
        "user.ckptfs.open", "user.ckptfs.etag"}) {
    if (impl_->GetXattr(**inode, name)) present.push_back(name);
  }
  reply(std::move(present));
}

void FileSystem::SetXattr(InodeNumber ino, std::string name, std::string,
                          Reply<void> reply) {
  Result<std::shared_ptr<Inode>> inode = impl_->FindInode(ino);
  if (!inode) {
    reply(Fail(inode.error()));
    return;
  }
  if (name != "user.ckptfs.changed") {
    reply(Fail(ErrorCode::kUnsupported, "extended attributes are not stored; " +
                                            name + " cannot be set"));
    return;
  }
  // Somebody wrote the object directly: the next lookup asks S3.
  Inode& changed = **inode;
  if (Directory* parent = changed.parent) {
    parent->listing.reset();
    parent->absent.clear();
    impl_->context.notifier.InvalidateEntry(parent->number, changed.name);
  }
  if (Directory* dir = changed.AsDirectory()) {
    dir->listing.reset();
    dir->absent.clear();
  }
  impl_->context.notifier.InvalidateInode(ino);
  reply({});
}

std::vector<std::string> FileSystem::UnpublishedFiles() const {
  std::vector<std::string> paths;
  for (const auto& [number, inode] : impl_->names.inodes().all()) {
    const File* file = inode->AsFile();
    if (file != nullptr && file->content.state() != PublishState::kClean &&
        file->content.state() != PublishState::kGone) {
      paths.push_back(impl_->names.Path(*file));
    }
  }
  return paths;
}

void FileSystem::Drain(SteadyTime deadline, Reply<DrainReport> reply) {
  Spawn<DrainReport>(impl_->context.strand, impl_->Drain(deadline),
                     [reply = std::move(reply)](DrainReport report) mutable {
                       reply(std::move(report));
                     });
}

std::uint64_t FileSystem::lost_file_count() const {
  return impl_->context.lost_files;
}

}  // namespace ckptfs::fs
