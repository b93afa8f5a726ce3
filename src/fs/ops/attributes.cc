// Attributes, sizes, extended attributes, and the drain at the end.
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "common/log.h"
#include "fs/ops/file_system_impl.h"
#include "fs/ops/lost_bytes.h"

namespace ckptfs::fs {

Task<Result<void>> FileSystem::Impl::ChangeSize(std::shared_ptr<File> file,
                                                std::uint64_t size,
                                                std::shared_ptr<Handle> handle,
                                                ProcessGroup who) {
  StrandMutex::Guard guard = co_await file->mutex.Lock();
  publisher.NoticeFailure(*file);
  const FileContent& content = file->content;
  if (size > 0 && handle != nullptr && handle->lost()) {
    co_return Fail(LostBytes(*handle));
  }
  if (size > 0 && size == file->size() &&
      content.state() != PublishState::kFailed) {
    co_return Result<void>();
  }
  // truncate(2) of a path: no close will follow that could publish it. Where
  // somebody else is writing, it is a change of what that one will publish.
  const bool alone =
      handle == nullptr &&
      (content.state() == PublishState::kClean || file->open_writers == 0);
  const Writer writer{who};
  Result<void> resized = co_await publisher.Resize(file, size, writer);
  CKPTFS_CO_RETURN_IF_ERROR(resized);
  if (handle != nullptr) handle->groups.Add(who);
  Touch(*file, handle.get());
  if (!alone) co_return Result<void>();
  Result<void> done = co_await publisher.Handle(file, PublishEvent::kFsync);
  if (!done) {
    Result<void> undone =
        co_await publisher.Handle(file, PublishEvent::kReleaseLast);
    (void)undone;  // the publish's error says more
  }
  publisher.CleanUpClosed(*file);
  co_return done;
}

Task<Result<Entry>> FileSystem::Impl::SetAttributes(Caller caller,
                                                    InodeNumber ino,
                                                    AttributeChange change) {
  Result<void> writable = CheckWritableMount();
  CKPTFS_CO_RETURN_IF_ERROR(writable);
  Result<std::shared_ptr<Inode>> found = FindInode(ino);
  CKPTFS_CO_RETURN_IF_ERROR(found);
  std::shared_ptr<Inode> inode = *found;
  std::shared_ptr<File> file;
  if (inode->AsFile() != nullptr) file = std::static_pointer_cast<File>(inode);
  if (change.size) {
    if (file == nullptr) {
      co_return Fail(ErrorCode::kIsDirectory, "a directory has no size");
    }
    std::shared_ptr<Handle> handle;
    if (change.handle) {
      Result<std::shared_ptr<Handle>> known = FindHandle(*change.handle);
      CKPTFS_CO_RETURN_IF_ERROR(known);
      handle = *known;
    }
    ProcessGroup who = co_await WhoIs(caller);
    Result<void> sized = co_await ChangeSize(file, *change.size, handle, who);
    CKPTFS_CO_RETURN_IF_ERROR(sized);
  }
  if (change.mode) inode->mode = (inode->mode & S_IFMT) | (*change.mode & 0777);
  if (change.uid) inode->uid = *change.uid;
  if (change.gid) inode->gid = *change.gid;
  if (change.atime) inode->atime = *change.atime;
  if (change.mtime) {
    inode->mtime = *change.mtime;
    if (file != nullptr) file->mtime_explicit = true;
  }
  inode->ctime = context.clock.WallNow();
  if (file != nullptr &&
      (change.mode || change.uid || change.gid || change.mtime)) {
    publisher.attributes().Changed(file);
  }
  co_return Entry{names.AttributesOf(*inode), context.options.attribute_ttl};
}

Result<std::string> FileSystem::Impl::GetXattr(const Inode& inode,
                                               const std::string& name) const {
  if (name == "user.ckptfs.uri") {
    return "s3://" + context.options.bucket + "/" + names.Key(inode);
  }
  if (name == "user.ckptfs.endpoint") return context.options.endpoint_url;
  if (!S_ISDIR(inode.mode)) {
    const File& file = static_cast<const File&>(inode);
    const bool durable = file.content.base() &&
                         file.content.state() == PublishState::kClean &&
                         file.parent;
    if (name == "user.ckptfs.durable") return std::string(durable ? "1" : "0");
    if (name == "user.ckptfs.open") {
      return std::string(file.open_handles > 0 ? "1" : "0");
    }
    if (name == "user.ckptfs.etag" && durable)
      return file.content.base()->etag.value;
  }
  return Fail(ErrorCode::kNotFound, "no attribute " + name);
}

Task<DrainReport> FileSystem::Impl::Drain(SteadyTime deadline) {
  // Waking every so often is enough: a drain lasts as long as its writers do.
  constexpr Duration kPoll = std::chrono::milliseconds(50);
  DrainReport report;
  while (true) {
    std::vector<std::shared_ptr<File>> open;
    for (const auto& [number, inode] : names.inodes().all()) {
      File* file = inode->AsFile();
      if (file == nullptr || file->content.state() == PublishState::kClean ||
          file->content.state() == PublishState::kGone) {
        continue;
      }
      open.push_back(std::static_pointer_cast<File>(inode));
    }
    if (open.empty()) break;
    if (context.clock.Now() < deadline) {
      Result<void> slept = co_await context.clock.Sleep(kPoll, context.strand);
      (void)slept;  // a timer does not fail
      continue;
    }
    for (const std::shared_ptr<File>& file : open) {
      const std::string path = names.Path(*file);
      const std::uint64_t before = context.lost_files;
      Result<void> torn =
          co_await publisher.LockAndHandle(file, PublishEvent::kDrainExpired);
      (void)torn;  // a discard has no result to tell
      if (context.lost_files != before) report.lost_files.push_back(path);
    }
    break;
  }
  // Unlinked files that are still open have sent parts that nobody will want.
  std::vector<std::shared_ptr<File>> gone;
  for (const auto& [number, inode] : names.inodes().all()) {
    File* file = inode->AsFile();
    if (file != nullptr && file->content.state() == PublishState::kGone) {
      gone.push_back(std::static_pointer_cast<File>(inode));
    }
  }
  for (const std::shared_ptr<File>& file : gone) {
    StrandMutex::Guard guard = co_await file->mutex.Lock();
    publisher.AbandonGone(*file);
  }
  co_await publisher.attributes().StoreAll();
  // What runs in the background may leave something to be removed.
  while (context.background_tasks > 0) {
    co_await context.background_ended.Wait();
  }
  co_await publisher.preserved().RemoveAll();
  while (context.background_tasks > 0) {
    co_await context.background_ended.Wait();
  }
  co_return report;
}

}  // namespace ckptfs::fs
