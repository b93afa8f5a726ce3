// Operations on open files: create, open, read, write, flush, fsync, release.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "common/log.h"
#include "fs/ops/file_system_impl.h"
#include "fs/tree/name_rules.h"

namespace ckptfs::fs {

namespace {

bool Writes(int flags) { return (flags & O_ACCMODE) != O_RDONLY; }

}  // namespace

void FileSystem::Impl::LearnGroup(Handle& handle, pid_t tid) {
  if (tid == 0 || !handle.known_threads.insert(tid).second) return;
  ++handle.lookups_pending;
  // The thread waits for our answer or has a FLUSH before it can end, and the
  // flush waits for this: /proc still knows it.
  auto learn = [](Impl* impl, std::shared_ptr<Handle> h,
                  pid_t thread) -> Task<void> {
    Result<ProcessGroup> group = co_await impl->context.oracle.GroupOf(thread);
    if (group && group->known() && !h->MayInclude(*group)) {
      h->groups.push_back(*group);
    }
    --h->lookups_pending;
    h->lookup_ended.NotifyAll();
  };
  Spawn(context.strand, learn(this, handles.at(handle.id), tid));
}

OpenFile FileSystem::Impl::OpenHandle(const Caller& caller,
                                      const std::shared_ptr<File>& file,
                                      int flags) {
  auto handle = std::make_shared<Handle>();
  handle->id = HandleId{next_handle++};
  handle->file = file;
  handle->writable = Writes(flags);
  handle->readable = (flags & O_ACCMODE) != O_WRONLY;
  handle->append = (flags & O_APPEND) != 0;
  handles.emplace(handle->id, handle);
  ++file->open_handles;
  if (handle->writable) {
    ++file->open_writers;
    LearnGroup(*handle, caller.tid);
  }
  OpenFile open;
  open.handle = handle->id;
  // Bypassing the page cache halves the cost of a write; it also forbids
  // MAP_SHARED, which a write-only descriptor cannot have anyway.
  open.direct_io = handle->writable && !handle->readable;
  open.keep_cache =
      !open.direct_io && file->cached_generation == file->content_generation;
  if (!open.direct_io) file->cached_generation = file->content_generation;
  return open;
}

void FileSystem::Impl::Touch(File& file, Handle* handle) {
  if (handle != nullptr) handle->wrote_epoch = file.publish_epoch;
  ++file.content_generation;
  file.mtime_explicit = false;
  // S3 fixes the metadata when an upload begins; stat shows what is stored.
  if (file.dirty && file.dirty->upload_begun()) return;
  file.mtime = file.ctime = context.clock.WallNow();
}

Task<Result<CreatedFile>> FileSystem::Impl::Create(Caller caller,
                                                   InodeNumber parent,
                                                   std::string name,
                                                   mode_t mode, int flags) {
  Result<void> writable = CheckWritableMount();
  CKPTFS_CO_RETURN_IF_ERROR(writable);
  Result<std::shared_ptr<Directory>> dir = FindDirectory(parent);
  CKPTFS_CO_RETURN_IF_ERROR(dir);
  Result<void> valid = names.CheckNewName(**dir, name);
  CKPTFS_CO_RETURN_IF_ERROR(valid);
  StrandMutex::Guard guard = co_await (*dir)->mutex.Lock();
  std::shared_ptr<File> file;
  const auto child = (*dir)->children.find(name);
  if (child != (*dir)->children.end() || !names.KnownAbsent(**dir, name)) {
    Result<std::shared_ptr<Inode>> found = co_await names.Resolve(*dir, name);
    if (found) {
      if ((flags & O_EXCL) != 0) {
        co_return Fail(ErrorCode::kAlreadyExists, name + " exists");
      }
      if ((*found)->AsFile() == nullptr) {
        co_return Fail(ErrorCode::kIsDirectory, name + " is a directory");
      }
      file = std::static_pointer_cast<File>(*found);
      guard.Release();
      Result<OpenFile> open = co_await Open(caller, file, flags);
      CKPTFS_CO_RETURN_IF_ERROR(open);
      co_return CreatedFile{EntryOf(*file), *open};
    }
    if (found.error().code() != ErrorCode::kNotFound) {
      co_return Fail(found.error());
    }
  }
  file = names.AddFile(**dir, name, mode, caller.uid, caller.gid);
  file->exclusive = (flags & O_EXCL) != 0;
  file->assumed_absent = (flags & (O_EXCL | O_TRUNC)) == 0;
  publisher.EnsureDirty(*file);
  Result<void> dirty = publisher.Note(*file, PublishEvent::kWrite);
  CKPTFS_CO_RETURN_IF_ERROR(dirty);
  names.NoteChange(**dir, name, true);
  OpenFile open = OpenHandle(caller, file, flags);
  handles.at(open.handle)->wrote_epoch = file->publish_epoch;
  co_return CreatedFile{EntryOf(*file), open};
}

Task<Result<OpenFile>> FileSystem::Impl::Open(Caller caller,
                                              std::shared_ptr<File> file,
                                              int flags) {
  const bool truncate = (flags & O_TRUNC) != 0;
  if (Writes(flags) || truncate) {
    Result<void> writable = CheckWritableMount();
    CKPTFS_CO_RETURN_IF_ERROR(writable);
  }
  // What is thrown away need not be fresh.
  if (!truncate) {
    Result<void> fresh = co_await names.Revalidate(file);
    CKPTFS_CO_RETURN_IF_ERROR(fresh);
  }
  if (file->parent == nullptr && file->state != PublishState::kGone) {
    // The kernel answers ESTALE by looking the name up again.
    co_return Fail(ErrorCode::kStale, file->name + " was replaced");
  }
  OpenFile open = OpenHandle(caller, file, flags);
  if (truncate && (file->size() > 0 || file->state == PublishState::kFailed ||
                   file->dirty != nullptr)) {
    Result<void> cut = co_await ChangeSize(file, 0);
    if (!cut) {
      Result<void> released = co_await Release(open.handle);
      (void)released;  // the truncation's error says more
      co_return Fail(cut.error());
    }
  } else if (truncate) {
    // Empty already, but it was asked to be written: closing publishes it.
    publisher.EnsureDirty(*file);
    Result<void> noted = publisher.Note(*file, PublishEvent::kTruncateToZero);
    if (!noted) co_return Fail(noted.error());
    Touch(*file, nullptr);
  }
  if (truncate) handles.at(open.handle)->wrote_epoch = file->publish_epoch;
  co_return open;
}

Task<Result<Payload>> FileSystem::Impl::Read(std::shared_ptr<Handle> handle,
                                             std::uint64_t offset,
                                             std::size_t size) {
  std::shared_ptr<File> file = handle->file;
  publisher.NoticeFailure(*file);
  if (file->dirty && file->state != PublishState::kClean) {
    const std::shared_ptr<DirtyFile> dirty = file->dirty;
    Result<Payload> read = co_await dirty->Read(offset, size);
    // Published and let go of meanwhile: what it read of is no more.
    if (read || file->dirty == dirty) co_return read;
  }
  // A publish or a preserved copy may replace the base under a read; then the
  // same bytes are read from where they are now.
  while (true) {
    if (!file->base) co_return Payload{};
    if (handle->stream == nullptr || handle->stream_key != file->base->key ||
        handle->stream_etag != file->base->etag) {
      handle->stream_key = file->base->key;
      handle->stream_etag = file->base->etag;
      ReadStreamOptions stream_options;
      stream_options.clock = &context.clock;
      stream_options.first_window_ranges = 8;
      handle->stream = std::make_shared<ReadStream>(
          context.store, context.strand, context.budget, context.slabs,
          *file->base, stream_options);
    }
    std::shared_ptr<ReadStream> stream = handle->stream;
    Result<Payload> read = co_await stream->Read(offset, size);
    if (read || !file->base ||
        (handle->stream_key == file->base->key &&
         handle->stream_etag == file->base->etag)) {
      co_return read;
    }
    if (file->dirty && file->state != PublishState::kClean) {
      const std::shared_ptr<DirtyFile> dirty = file->dirty;
      Result<Payload> fresh = co_await dirty->Read(offset, size);
      if (fresh || file->dirty == dirty) co_return fresh;
    }
  }
}

bool FileSystem::Impl::WriteNow(const Caller& caller, Handle& handle,
                                std::uint64_t offset, SlabSlice& data,
                                bool from_page_cache,
                                Reply<std::size_t>& reply) {
  File& file = *handle.file;
  if (!handle.writable && !from_page_cache) {
    reply(Fail(ErrorCode::kInvalidArgument, "not open for writing"));
    return true;
  }
  if (!from_page_cache) LearnGroup(handle, caller.tid);
  if (file.mutex.locked() || !file.dirty) return false;
  if (handle.append) offset = file.size();
  if (!file.dirty->Ready(offset, data.size)) return false;
  Result<void> noted = publisher.Note(file, PublishEvent::kWrite);
  if (!noted) {
    reply(Fail(noted.error()));
    return true;
  }
  if (from_page_cache) file.mapped_writes = true;
  const std::size_t size = data.size;
  Touch(file, &handle);
  file.dirty->Write(offset, std::move(data));
  reply(size);
  return true;
}

Task<Result<std::size_t>> FileSystem::Impl::WriteSlowly(
    Caller, std::shared_ptr<Handle> handle, std::uint64_t offset,
    SlabSlice data, bool from_page_cache) {
  std::shared_ptr<File> file = handle->file;
  StrandMutex::Guard guard = co_await file->mutex.Lock();
  publisher.NoticeFailure(*file);
  if (file->state == PublishState::kFailed) co_return Fail(*file->error);
  publisher.EnsureDirty(*file);
  if (handle->append) offset = file->size();
  Result<void> ready = co_await file->dirty->Prepare(offset, data.size);
  if (!ready) {
    const Error error = ready.error().WithContext(names.Path(*file));
    LogError("write refused: " + error.ToString());
    // The file lacks bytes its writer believes it wrote: it can never be
    // published, until it is rewritten from the start.
    file->error = error;
    file->dirty->GiveUp(error);
    file->state =
        NextPublishState(file->state, PublishEvent::kWriteFailed).next;
    co_return Fail(error);
  }
  Result<void> noted = publisher.Note(*file, PublishEvent::kWrite);
  CKPTFS_CO_RETURN_IF_ERROR(noted);
  if (from_page_cache) file->mapped_writes = true;
  const std::size_t size = data.size;
  Touch(*file, handle.get());
  file->dirty->Write(offset, std::move(data));
  co_return size;
}

Task<Result<void>> FileSystem::Impl::Flush(Caller caller,
                                           std::shared_ptr<Handle> handle) {
  std::shared_ptr<File> file = handle->file;
  publisher.NoticeFailure(*file);
  if (!handle->writable ||
      (file->state == PublishState::kClean && !file->mutex.locked())) {
    co_return Result<void>();
  }
  PublishEvent event = PublishEvent::kFlushClose;
  if (file->open_writers > 1 && handle->wrote_epoch != file->publish_epoch) {
    // The unpublished bytes are another writer's, who is still at it: this is
    // not the last close, and not this handle's to decide.
    event = PublishEvent::kFlushStranger;
  } else if (caller.tid == 0) {
    LogDebug(names.Path(*file) +
             ": closed from another pid namespace; taken as a living writer");
  } else {
    Result<FlushWitness> witness =
        co_await context.oracle.WitnessFlush(caller.tid, file->number);
    while (handle->lookups_pending > 0) {
      co_await handle->lookup_ended.Wait();
    }
    if (!witness) {
      LogWarning("cannot tell who closed " + names.Path(*file) +
                 "; taken as a living writer: " + witness.error().ToString());
    } else if (witness->group.known() &&
               !handle->MayInclude(witness->group)) {
      event = PublishEvent::kFlushStranger;
    } else if (witness->dying_by_signal) {
      event = PublishEvent::kFlushDying;
    } else if (witness->has_other_writable_descriptor) {
      event = PublishEvent::kFlushShared;
    }
  }
  Result<void> done = co_await publisher.LockAndHandle(file, event);
  co_return done;
}

Task<Result<void>> FileSystem::Impl::Fsync(std::shared_ptr<File> file) {
  Result<void> done =
      co_await publisher.LockAndHandle(file, PublishEvent::kFsync);
  co_return done;
}

Task<Result<void>> FileSystem::Impl::Release(HandleId id) {
  const auto it = handles.find(id);
  if (it == handles.end()) {
    co_return Fail(ErrorCode::kInvalidArgument, "no such handle");
  }
  std::shared_ptr<Handle> handle = it->second;
  handles.erase(it);
  std::shared_ptr<File> file = handle->file;
  handle->stream.reset();
  StrandMutex::Guard guard = co_await file->mutex.Lock();
  --file->open_handles;
  Result<void> result;
  if (handle->writable) {
    --file->open_writers;
    const PublishEvent event =
        file->open_writers > 0 ? PublishEvent::kReleaseOther
        : file->mapped_writes  ? PublishEvent::kReleaseLastMapped
                               : PublishEvent::kReleaseLast;
    result = co_await publisher.Handle(file, event);
    if (!result) {
      // Nobody waits for a release: the next fsync or open of the file gets
      // the error, which stays.
      LogError("on release: " + result.error().ToString());
    }
    if (file->open_writers == 0 && file->state == PublishState::kClean) {
      file->dirty.reset();
    }
  }
  publisher.CleanUpClosed(*file);
  guard.Release();
  names.DropIfUnused(file);
  co_return result;
}

}  // namespace ckptfs::fs
