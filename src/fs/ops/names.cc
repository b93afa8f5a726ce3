// Operations on names: lookup, mkdir, rmdir, unlink, readdir.
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "common/log.h"
#include "fs/ops/file_system_impl.h"
#include "transfer/nonce.h"
#include "transfer/object_delete.h"

namespace ckptfs::fs {

Task<Result<Entry>> FileSystem::Impl::Lookup(InodeNumber parent,
                                             std::string name) {
  Result<std::shared_ptr<Directory>> dir = FindDirectory(parent);
  CKPTFS_CO_RETURN_IF_ERROR(dir);
  while (true) {
    Result<std::shared_ptr<Inode>> found = co_await names.Resolve(*dir, name);
    CKPTFS_CO_RETURN_IF_ERROR(found);
    File* file = (*found)->AsFile();
    if (file == nullptr || !file->leaving) co_return EntryOf(**found);
    // What is being replaced is not worth an answer: its open would fail, and
    // the kernel looks a name up anew but once.
    const std::shared_ptr<Inode> held = *found;
    StrandMutex::Guard left = co_await file->mutex.Lock();
  }
}

Task<Result<Entry>> FileSystem::Impl::MakeDirectory(Caller caller,
                                                    InodeNumber parent,
                                                    std::string name,
                                                    mode_t mode) {
  Result<void> writable = CheckWritableMount();
  CKPTFS_CO_RETURN_IF_ERROR(writable);
  Result<std::shared_ptr<Directory>> dir = FindDirectory(parent);
  CKPTFS_CO_RETURN_IF_ERROR(dir);
  Result<void> valid = names.CheckNewName(**dir, name);
  CKPTFS_CO_RETURN_IF_ERROR(valid);
  StrandMutex::Guard guard = co_await (*dir)->mutex.Lock();
  const Error exists(ErrorCode::kAlreadyExists, name + " exists");
  if (!names.KnownAbsent(**dir, name)) {
    Result<std::shared_ptr<Inode>> found = co_await names.Resolve(*dir, name);
    if (found) co_return Fail(exists);
    if (found.error().code() != ErrorCode::kNotFound) {
      co_return Fail(found.error());
    }
  }
  StoredAttributes attributes;
  attributes.mode = S_IFDIR | (mode & 0777);
  attributes.uid = caller.uid;
  attributes.gid = caller.gid;
  attributes.mtime = context.clock.WallNow();
  PutRequest request;
  request.key = names.ChildKey(**dir, name) + "/";
  request.attributes.content_type = "application/x-directory";
  EncodeAttributes(attributes, request.attributes.metadata);
  request.attributes.metadata[kNonceMetadataName] = MakeNonce();
  // Of two hosts that make the same directory, one is told EEXIST.
  request.condition.if_none_match = true;
  PutRequest unconditional = request;
  unconditional.condition = {};
  Result<PutResult> put = co_await context.store.Put(std::move(request));
  if (!put && put.error().code() == ErrorCode::kUnsupported) {
    // The endpoint has no conditions: check, then act.
    put = co_await context.store.Put(std::move(unconditional));
  }
  if (!put) {
    // Somebody else made it since this mount looked, or perhaps this did.
    names.Forget(**dir, name);
    if (put.error().code() == ErrorCode::kPreconditionFailed) {
      co_return Fail(exists);
    }
    co_return Fail(put.error());
  }
  std::shared_ptr<Directory> made =
      names.AddDirectory(**dir, name, mode, caller.uid, caller.gid);
  made->has_marker = true;
  made->mtime = made->ctime = *attributes.mtime;
  // It was just made: whatever is asked about next is known.
  auto empty = std::make_shared<Listing>();
  empty->taken = context.clock.Now();
  made->listing = std::move(empty);
  names.NoteChange(**dir, name, true);
  co_return EntryOf(*made);
}

Task<Result<void>> FileSystem::Impl::RemoveDirectory(InodeNumber parent,
                                                     std::string name) {
  Result<void> writable = CheckWritableMount();
  CKPTFS_CO_RETURN_IF_ERROR(writable);
  Result<std::shared_ptr<Directory>> dir = FindDirectory(parent);
  CKPTFS_CO_RETURN_IF_ERROR(dir);
  StrandMutex::Guard guard = co_await (*dir)->mutex.Lock();
  Result<std::shared_ptr<Inode>> found = co_await names.Resolve(*dir, name);
  CKPTFS_CO_RETURN_IF_ERROR(found);
  if ((*found)->AsDirectory() == nullptr) {
    co_return Fail(ErrorCode::kNotDirectory, name + " is a file");
  }
  std::shared_ptr<Directory> victim =
      std::static_pointer_cast<Directory>(*found);
  StrandMutex::Guard inner = co_await victim->mutex.Lock();
  Result<bool> empty = co_await names.IsEmpty(victim);
  CKPTFS_CO_RETURN_IF_ERROR(empty);
  if (!*empty) {
    co_return Fail(ErrorCode::kNotEmpty, names.Path(*victim) + " is not empty");
  }
  if (victim->has_marker) {
    const std::string marker = names.Key(*victim);
    Result<void> deleted = co_await DeleteObject(context.store, marker);
    CKPTFS_CO_RETURN_IF_ERROR(deleted);
  }
  victim->sticky = false;
  names.Detach(*victim);
  names.NoteChange(**dir, name, false);
  inner.Release();
  names.DropIfUnused(victim);
  co_return Result<void>();
}

Task<Result<void>> FileSystem::Impl::Unlink(InodeNumber parent,
                                            std::string name) {
  Result<void> writable = CheckWritableMount();
  CKPTFS_CO_RETURN_IF_ERROR(writable);
  Result<std::shared_ptr<Directory>> dir = FindDirectory(parent);
  CKPTFS_CO_RETURN_IF_ERROR(dir);
  StrandMutex::Guard guard = co_await (*dir)->mutex.Lock();
  // The kernel looked the name up a moment ago: what is known need not be
  // asked for again, and deleting what is gone already does no harm.
  std::shared_ptr<Inode> inode;
  const auto child = (*dir)->children.find(name);
  if (child != (*dir)->children.end()) {
    inode = child->second;
  } else {
    Result<std::shared_ptr<Inode>> found = co_await names.Resolve(*dir, name);
    CKPTFS_CO_RETURN_IF_ERROR(found);
    inode = *found;
  }
  if (inode->AsFile() == nullptr) {
    co_return Fail(ErrorCode::kIsDirectory, name + " is a directory");
  }
  std::shared_ptr<File> file = std::static_pointer_cast<File>(inode);
  StrandMutex::Guard inner = co_await file->mutex.Lock();
  if (file->parent == nullptr) {
    co_return Fail(ErrorCode::kNotFound, name + " was just removed");
  }
  const Leaving leaving(file);
  // Where a publish may have been carried out, whatever is there has to go.
  const bool unknown = file->content.maybe_published();
  if (file->content.base() || unknown) {
    co_await publisher.attributes().Settled(file);
    const std::string key = names.Key(*file);
    const ETag version = unknown ? ETag() : file->content.base()->etag;
    Result<void> preserved = co_await publisher.preserved().Keep(file);
    CKPTFS_CO_RETURN_IF_ERROR(preserved);
    Result<void> deleted = co_await SettledDelete(context.store, key, version);
    if (!deleted) {
      const ErrorCode failure = deleted.error().code();
      if (failure != ErrorCode::kOutcomeUnknown) {
        publisher.preserved().Undo(*file);
      }
      if (failure == ErrorCode::kPreconditionFailed ||
          failure == ErrorCode::kOutcomeUnknown) {
        // Another client's object has the name, or perhaps nothing.
        names.Forget(**dir, name);
      }
      if (failure == ErrorCode::kPreconditionFailed) {
        // The kernel looks the name up again and asks once more.
        co_return Fail(ErrorCode::kStale, name + " was replaced in the bucket");
      }
      co_return deleted;
    }
  }
  Result<void> gone = co_await publisher.Handle(file, PublishEvent::kUnlink);
  CKPTFS_CO_RETURN_IF_ERROR(gone);
  names.Detach(*file);
  names.NoteChange(**dir, name, false);
  publisher.CleanUpClosed(*file);
  inner.Release();
  names.DropIfUnused(file);
  co_return Result<void>();
}

Task<Result<std::vector<DirectoryEntry>>> FileSystem::Impl::ReadDirectory(
    HandleId id, std::uint64_t offset, std::size_t max_entries) {
  const auto it = directories.find(id);
  if (it == directories.end()) {
    co_return Fail(ErrorCode::kInvalidArgument, "no such directory handle");
  }
  std::shared_ptr<DirectoryHandle> handle = it->second;
  // rewinddir(3) shows the directory as it is now.
  if (offset == 0 || !handle->loaded) {
    std::shared_ptr<Directory> dir = handle->directory;
    if (dir->parent == nullptr && !dir->is_root) {
      handle->names.clear();
    } else {
      Result<std::map<std::string, bool>> listed = co_await names.List(dir);
      CKPTFS_CO_RETURN_IF_ERROR(listed);
      handle->names.assign(listed->begin(), listed->end());
    }
    handle->loaded = true;
  }
  std::vector<DirectoryEntry> out;
  const Directory& dir = *handle->directory;
  for (std::uint64_t at = offset;
       at < handle->names.size() + 2 && out.size() < max_entries; ++at) {
    DirectoryEntry entry;
    entry.next = at + 1;
    entry.type = S_IFDIR;
    if (at == 0) {
      entry.name = ".";
      entry.ino = dir.number;
    } else if (at == 1) {
      entry.name = "..";
      entry.ino = dir.parent != nullptr ? dir.parent->number : dir.number;
    } else {
      const auto& [name, is_directory] = handle->names[at - 2];
      entry.name = name;
      if (!is_directory) entry.type = S_IFREG;
      const auto child = dir.children.find(name);
      // The kernel's own "unknown" (FUSE_UNKNOWN_INO): numbers are given out
      // by lookup.
      entry.ino = child != dir.children.end() ? child->second->number
                                              : InodeNumber{0xffffffffu};
    }
    out.push_back(std::move(entry));
  }
  co_return out;
}

}  // namespace ckptfs::fs
