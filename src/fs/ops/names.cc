// Operations on names: lookup, mkdir, rmdir, unlink, rename, readdir.
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "common/log.h"
#include "fs/ops/file_system_impl.h"
#include "fs/tree/name_rules.h"
#include "transfer/nonce.h"
#include "transfer/object_writer.h"

namespace ckptfs::fs {

namespace {

// renameat2(2); libc declares it in <stdio.h> under _GNU_SOURCE only.
constexpr unsigned kRenameNoReplace = 1;

}  // namespace

Task<Result<Entry>> FileSystem::Impl::Lookup(InodeNumber parent,
                                             std::string name) {
  Result<std::shared_ptr<Directory>> dir = FindDirectory(parent);
  CKPTFS_CO_RETURN_IF_ERROR(dir);
  Result<std::shared_ptr<Inode>> found = co_await names.Resolve(*dir, name);
  CKPTFS_CO_RETURN_IF_ERROR(found);
  co_return EntryOf(**found);
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
  if (file->base) {
    const std::string key = names.Key(*file);
    Result<void> preserved = co_await publisher.PreserveForReaders(file);
    CKPTFS_CO_RETURN_IF_ERROR(preserved);
    Result<void> deleted = co_await DeleteObject(context.store, key);
    if (!deleted) {
      publisher.KeepObject(*file);
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

Task<Result<void>> FileSystem::Impl::Rename(InodeNumber parent,
                                            std::string name,
                                            InodeNumber new_parent,
                                            std::string new_name,
                                            unsigned flags) {
  Result<void> writable = CheckWritableMount();
  CKPTFS_CO_RETURN_IF_ERROR(writable);
  if ((flags & ~kRenameNoReplace) != 0) {
    co_return Fail(ErrorCode::kInvalidArgument,
                   "rename flags other than RENAME_NOREPLACE are not "
                   "supported");
  }
  const bool no_replace = (flags & kRenameNoReplace) != 0;
  Result<std::shared_ptr<Directory>> from = FindDirectory(parent);
  CKPTFS_CO_RETURN_IF_ERROR(from);
  Result<std::shared_ptr<Directory>> to = FindDirectory(new_parent);
  CKPTFS_CO_RETURN_IF_ERROR(to);
  Result<void> valid = names.CheckNewName(**to, new_name);
  CKPTFS_CO_RETURN_IF_ERROR(valid);

  // Locks: directories by number, then files by number.
  std::shared_ptr<Directory> first = *from;
  std::shared_ptr<Directory> second = *to;
  if (second->number < first->number) std::swap(first, second);
  StrandMutex::Guard first_guard = co_await first->mutex.Lock();
  StrandMutex::Guard second_guard;
  if (first != second) second_guard = co_await second->mutex.Lock();

  Result<std::shared_ptr<Inode>> source = co_await names.Resolve(*from, name);
  CKPTFS_CO_RETURN_IF_ERROR(source);
  if ((*source)->AsFile() == nullptr) {
    LogWarning("rename of the directory " + names.Path(**source) +
               " is not supported");
    co_return Fail(ErrorCode::kUnsupported,
                   "renaming directories is not supported");
  }
  std::shared_ptr<File> file = std::static_pointer_cast<File>(*source);
  std::shared_ptr<File> replaced;
  Result<std::shared_ptr<Inode>> target = co_await names.Resolve(*to, new_name);
  if (target) {
    if (*target == *source) co_return Result<void>();
    if (no_replace) {
      co_return Fail(ErrorCode::kAlreadyExists, new_name + " exists");
    }
    if ((*target)->AsFile() == nullptr) {
      co_return Fail(ErrorCode::kIsDirectory, new_name + " is a directory");
    }
    replaced = std::static_pointer_cast<File>(*target);
  } else if (target.error().code() != ErrorCode::kNotFound) {
    co_return Fail(target.error());
  }

  std::shared_ptr<File> low = file;
  std::shared_ptr<File> high = replaced;
  if (high != nullptr && high->number < low->number) std::swap(low, high);
  StrandMutex::Guard low_guard = co_await low->mutex.Lock();
  StrandMutex::Guard high_guard;
  if (high != nullptr) high_guard = co_await high->mutex.Lock();

  publisher.NoticeFailure(*file);
  if (file->state == PublishState::kTorn) {
    Result<void> torn = co_await publisher.Handle(file, PublishEvent::kRename);
    CKPTFS_CO_RETURN_IF_ERROR(torn);
    if (file->parent == nullptr) {
      co_return Fail(ErrorCode::kNotFound,
                     name + " was torn and is gone: its writer was killed");
    }
  }
  if (file->state == PublishState::kFailed) co_return Fail(*file->error);
  if (replaced != nullptr) {
    Result<void> preserved = co_await publisher.PreserveForReaders(replaced);
    CKPTFS_CO_RETURN_IF_ERROR(preserved);
  }

  Result<void> moved = Fail(ErrorCode::kInternal, "not renamed");
  bool taken = false;  // the new name has the new bytes
  if (file->state == PublishState::kClean) {
    moved = co_await RenameClean(file, *to, new_name, no_replace, &taken);
  } else {
    moved =
        co_await RenameDirty(file, *to, new_name, no_replace, replaced, &taken);
  }
  if (!taken) {
    if (replaced != nullptr) publisher.KeepObject(*replaced);
    co_return moved;
  }
  if (replaced != nullptr) {
    Result<void> gone =
        co_await publisher.Handle(replaced, PublishEvent::kUnlink);
    CKPTFS_CO_RETURN_IF_ERROR(gone);
    names.Detach(*replaced);  // RenameDirty has done so already
    publisher.CleanUpClosed(*replaced);
  }
  if (!moved) {
    // Both names exist; the kernel still has the old meaning of both.
    context.notifier.InvalidateEntry((*from)->number, name);
    context.notifier.InvalidateEntry((*to)->number, new_name);
    co_return moved;
  }
  names.NoteChange(**from, name, false);
  names.NoteChange(**to, new_name, true);
  low_guard.Release();
  high_guard.Release();
  if (replaced != nullptr) names.DropIfUnused(replaced);
  co_return Result<void>();
}

Task<Result<void>> FileSystem::Impl::RenameClean(std::shared_ptr<File> file,
                                                 std::shared_ptr<Directory> to,
                                                 std::string new_name,
                                                 bool no_replace, bool* taken) {
  const std::string old_key = names.Key(*file);
  const std::string new_key = names.ChildKey(*to, new_name);
  WriteCondition condition;
  condition.if_none_match = no_replace;
  Result<ObjectInfo> copied = co_await CopyObject(
      context.store, context.strand, *file->base, new_key, condition);
  if (!copied) {
    if (copied.error().code() == ErrorCode::kPreconditionFailed) {
      co_return Fail(no_replace
                         ? Error(ErrorCode::kAlreadyExists,
                                 new_name + " exists, or " + file->name +
                                     " was replaced in the bucket")
                         : Error(ErrorCode::kStale,
                                 file->name + " was replaced in the bucket"));
    }
    if (copied.error().code() == ErrorCode::kOutcomeUnknown) {
      names.Forget(*to, new_name);
    }
    co_return Fail(copied.error());
  }
  *taken = true;
  Result<void> deleted = co_await DeleteObject(context.store, old_key);
  if (!deleted) {
    names.Forget(*to, new_name);
    co_return Fail(deleted.error().WithContext(
        "both names exist now: " + new_key + " was made, " + old_key +
        " could not be removed"));
  }
  file->base = *std::move(copied);
  const auto old = to->children.find(new_name);
  if (old != to->children.end()) names.Detach(*old->second);
  names.Detach(*file);
  names.Attach(*to, new_name, file);
  // A writer that has not changed anything yet must not hold the old key.
  file->dirty.reset();
  co_return Result<void>();
}

Task<Result<void>> FileSystem::Impl::RenameDirty(std::shared_ptr<File> file,
                                                 std::shared_ptr<Directory> to,
                                                 std::string new_name,
                                                 bool no_replace,
                                                 std::shared_ptr<File> replaced,
                                                 bool* taken) {
  // The name changes first, because the commit derives its key from it; a
  // failed commit puts it back.
  Directory* const from = file->parent;
  const std::shared_ptr<Inode> from_alive = names.inodes().Find(from->number);
  const std::string old_name = file->name;
  const std::string old_key = names.Key(*file);
  const bool old_object = file->base.has_value();
  if (replaced != nullptr) names.Detach(*replaced);
  names.Detach(*file);
  names.Attach(*to, new_name, file);
  const bool was_exclusive = std::exchange(file->exclusive, false);
  Result<void> done = co_await publisher.CommitRenamed(file, no_replace);
  if (!done) {
    names.Detach(*file);
    names.Attach(*from, old_name, file);
    if (replaced != nullptr) names.Attach(*to, new_name, replaced);
    file->exclusive = was_exclusive;
    co_return done;
  }
  *taken = true;
  if (file->dirty) {
    file->dirty->set_held(IsHeldName(new_name, context.options.held_names));
  }
  if (old_object) {
    Result<void> deleted = co_await DeleteObject(context.store, old_key);
    if (!deleted) {
      co_return Fail(deleted.error().WithContext(
          "both names exist now: " + old_key + " could not be removed"));
    }
  }
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
