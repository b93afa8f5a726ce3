// rename(2) of files.
#include <utility>

#include "common/log.h"
#include "fs/ops/file_system_impl.h"

namespace ckptfs::fs {

namespace {

// renameat2(2); libc declares it in <stdio.h> under _GNU_SOURCE only.
constexpr unsigned kRenameNoReplace = 1;

}  // namespace

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
  // Where a group that lives wrote some of the bytes, the rename publishes
  // them, as its close would; else nobody vouches for them.
  if (file->content.state() == PublishState::kTorn &&
      file->content.writers().empty()) {
    Result<void> torn = co_await publisher.Handle(file, PublishEvent::kRename);
    CKPTFS_CO_RETURN_IF_ERROR(torn);
  }
  if (file->parent == nullptr) {
    co_return Fail(ErrorCode::kNotFound, name + " was just removed");
  }
  if (file->content.state() == PublishState::kFailed) {
    co_return Fail(*file->content.error());
  }
  const Leaving leaving(replaced);
  if (replaced != nullptr) {
    co_await publisher.attributes().Settled(replaced);
    Result<void> preserved = co_await publisher.preserved().Keep(replaced);
    CKPTFS_CO_RETURN_IF_ERROR(preserved);
  }

  Renamer::Reached reached = Renamer::Reached::kNothing;
  Renamer::Target where{*to, new_name, no_replace, replaced};
  Result<void> moved = co_await renamer.Move(file, where, &reached);
  if (reached == Renamer::Reached::kNothing) {
    if (replaced != nullptr) publisher.preserved().Undo(*replaced);
    co_return moved;
  }
  if (replaced != nullptr && reached == Renamer::Reached::kUnknown) {
    // It may have been replaced, or still be what the name leads to: its
    // readers have their copy, its writers must not believe that it is there.
    names.Detach(*replaced);
    if (replaced->content.unpublished()) {
      publisher.Fail(*replaced, moved.error());
    }
  } else if (replaced != nullptr) {
    names.Detach(*replaced);
    Result<void> gone =
        co_await publisher.Handle(replaced, PublishEvent::kUnlink);
    CKPTFS_CO_RETURN_IF_ERROR(gone);
    publisher.CleanUpClosed(*replaced);
  }
  if (!moved) {
    // The kernel still has the old meaning of both names.
    if (file->parent != to->get() || file->name != new_name) {
      names.Forget(**to, new_name);
    }
    if (file->parent != from->get() || file->name != name) {
      names.Forget(**from, name);
    }
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

}  // namespace ckptfs::fs
