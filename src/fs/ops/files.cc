// Operations on open files: create, open, read, write, flush, fsync, release.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "common/log.h"
#include "fs/ops/file_system_impl.h"
#include "fs/ops/lost_bytes.h"

namespace ckptfs::fs {

namespace {

bool Writes(int flags) { return (flags & O_ACCMODE) != O_RDONLY; }

}  // namespace

OpenFile FileSystem::Impl::OpenHandle(const ProcessGroup& who,
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
    handle->groups.Add(who);
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
  if (handle != nullptr) handle->wrote_epoch = file.content.epoch();
  ++file.content_generation;
  file.mtime_explicit = false;
  // S3 fixes the metadata when an upload begins; stat shows what is stored.
  if (file.content.dirty() && file.content.dirty()->upload_begun()) return;
  file.mtime = file.ctime = context.clock.WallNow();
}

Task<Result<CreatedFile>> FileSystem::Impl::Create(Caller caller,
                                                   InodeNumber parent,
                                                   std::string name,
                                                   mode_t mode, int flags) {
  Result<void> writable = CheckWritableMount();
  CKPTFS_CO_RETURN_IF_ERROR(writable);
  ProcessGroup who = co_await WhoIs(caller);
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
  const bool exclusive = (flags & O_EXCL) != 0;
  publisher.Create(*file, Writer{who}, exclusive,
                   !exclusive && (flags & O_TRUNC) == 0);
  names.NoteChange(**dir, name, true);
  OpenFile open = OpenHandle(who, file, flags);
  handles.at(open.handle)->wrote_epoch = file->content.epoch();
  co_return CreatedFile{EntryOf(*file), open};
}

Task<Result<OpenFile>> FileSystem::Impl::Open(Caller caller,
                                              std::shared_ptr<File> file,
                                              int flags) {
  const bool truncate = (flags & O_TRUNC) != 0;
  ProcessGroup who;
  if (Writes(flags) || truncate) {
    Result<void> writable = CheckWritableMount();
    CKPTFS_CO_RETURN_IF_ERROR(writable);
    who = co_await WhoIs(caller);
  }
  // What is thrown away need not be fresh.
  if (!truncate) {
    Result<void> fresh = co_await names.Revalidate(file);
    CKPTFS_CO_RETURN_IF_ERROR(fresh);
  }
  if (file->leaving) {
    StrandMutex::Guard left = co_await file->mutex.Lock();
  }
  const bool bytes_gone = file->content.state() != PublishState::kGone ||
                          (file->content.base() && !file->content.preserved());
  if (file->parent == nullptr && bytes_gone) {
    // The kernel answers ESTALE by looking the name up again.
    co_return Fail(ErrorCode::kStale, file->name + " was replaced");
  }
  OpenFile open = OpenHandle(who, file, flags);
  if (!truncate) co_return open;
  std::shared_ptr<Handle> handle = handles.at(open.handle);
  Result<void> cut;
  if (handle->writable) {
    cut = co_await Truncate(handle, who);
  } else {
    // O_RDONLY | O_TRUNC cuts the file, and its close says nothing.
    cut = co_await ChangeSize(file, 0, nullptr, who);
  }
  if (!cut) {
    Result<void> released = co_await Release(open.handle);
    (void)released;  // the truncation's error says more
    co_return Fail(cut.error());
  }
  co_return open;
}

// O_TRUNC: a change also where the file is empty already, since closing it
// publishes it.
Task<Result<void>> FileSystem::Impl::Truncate(std::shared_ptr<Handle> handle,
                                              ProcessGroup who) {
  std::shared_ptr<File> file = handle->file;
  StrandMutex::Guard guard = co_await file->mutex.Lock();
  if (file->parent == nullptr && file->content.state() != PublishState::kGone) {
    co_return Fail(ErrorCode::kStale, file->name + " was replaced");
  }
  const Writer writer{who};
  Result<void> cut = co_await publisher.Resize(file, 0, writer);
  CKPTFS_CO_RETURN_IF_ERROR(cut);
  Touch(*file, handle.get());
  co_return Result<void>();
}

Task<Result<Payload>> FileSystem::Impl::Read(std::shared_ptr<Handle> handle,
                                             std::uint64_t offset,
                                             std::size_t size) {
  std::shared_ptr<File> file = handle->file;
  while (true) {
    const std::uint64_t moves = file->content.moves();
    Result<Payload> read = co_await ReadOnce(handle, offset, size);
    if (read) co_return read;
    // This mount may be about to replace or remove the object, or have done so
    // while the request was under way: then the bytes are elsewhere when it is
    // done.
    if (file->mutex.locked() || file->content.storing_attributes()) {
      StrandMutex::Guard settled = co_await file->mutex.Lock();
      co_await publisher.attributes().Settled(file);
    }
    if (moves == file->content.moves()) co_return read;
  }
}

Task<Result<Payload>> FileSystem::Impl::ReadOnce(std::shared_ptr<Handle> handle,
                                                 std::uint64_t offset,
                                                 std::size_t size) {
  std::shared_ptr<File> file = handle->file;
  const FileContent& content = file->content;
  if (content.dirty() && content.state() != PublishState::kClean) {
    const std::shared_ptr<DirtyFile> dirty = content.dirty();
    Result<Payload> read = co_await dirty->Read(offset, size);
    co_return read;
  }
  if (!content.base()) co_return Payload{};
  const ObjectInfo& base = *content.base();
  if (handle->stream == nullptr || handle->stream_key != base.key ||
      handle->stream_etag != base.etag) {
    handle->stream_key = base.key;
    handle->stream_etag = base.etag;
    ReadStreamOptions stream_options;
    stream_options.clock = &context.clock;
    stream_options.first_window_ranges = 8;
    handle->stream = std::make_shared<ReadStream>(context.store, context.strand,
                                                  context.budget, context.slabs,
                                                  base, stream_options);
  }
  std::shared_ptr<ReadStream> stream = handle->stream;
  Result<Payload> read = co_await stream->Read(offset, size);
  co_return read;
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
  if (handle.lost()) {
    reply(Fail(LostBytes(handle)));
    return true;
  }
  Writer who = Writer::Page();
  if (!from_page_cache) {
    const std::optional<ProcessGroup> known = KnownThread(handle, caller);
    if (!known) return false;
    who = Writer{*known};
  }
  StrandMutex::Guard guard = file.mutex.TryLock();
  if (!guard) return false;
  // Late pages of a mapping belong where they are, whatever the flags of the
  // handle that the kernel sends them through.
  if (handle.append && !from_page_cache) offset = file.size();
  if (!publisher.CanWrite(file, offset, data.size)) return false;
  const std::size_t size = data.size;
  Result<void> written = publisher.Write(file, offset, std::move(data), who);
  if (!written) {
    reply(Fail(written.error()));
    return true;
  }
  Touch(file, &handle);
  reply(size);
  return true;
}

Task<Result<std::size_t>> FileSystem::Impl::WriteSlowly(
    Caller caller, std::shared_ptr<Handle> handle, std::uint64_t offset,
    SlabSlice data, bool from_page_cache) {
  std::shared_ptr<File> file = handle->file;
  Writer who = Writer::Page();
  if (!from_page_cache) {
    // Nobody's write is answered before it is known whose it is: the thread
    // waits for the answer, so /proc still has it.
    ProcessGroup group = co_await WhoIs(caller);
    Remember(*handle, caller, group);
    handle->groups.Add(group);
    who = Writer{group};
  }
  StrandMutex::Guard guard = co_await file->mutex.Lock();
  if (handle->lost()) co_return Fail(LostBytes(*handle));
  if (handle->append && !from_page_cache) offset = file->size();
  Result<void> ready = co_await publisher.PrepareWrite(file, offset, data.size);
  CKPTFS_CO_RETURN_IF_ERROR(ready);
  const std::size_t size = data.size;
  Result<void> written = publisher.Write(*file, offset, std::move(data), who);
  CKPTFS_CO_RETURN_IF_ERROR(written);
  Touch(*file, handle.get());
  co_return size;
}

Task<Result<void>> FileSystem::Impl::Flush(Caller caller,
                                           std::shared_ptr<Handle> handle) {
  std::shared_ptr<File> file = handle->file;
  if (handle->lost()) co_return Fail(LostBytes(*handle));
  if (!handle->writable || (file->content.state() == PublishState::kClean &&
                            !file->mutex.locked())) {
    co_return Result<void>();
  }
  FlushWitness witness;
  if (caller.tid == 0) {
    witness.group = co_await WhoIs(caller);
  } else {
    Result<FlushWitness> seen =
        co_await context.oracle.WitnessFlush(caller.tid, file->number);
    if (seen) {
      witness = *seen;
    } else {
      LogWarning("cannot tell who closed " + names.Path(*file) +
                 "; taken as a living writer: " + seen.error().ToString());
    }
  }
  StrandMutex::Guard guard = co_await file->mutex.Lock();
  publisher.NoticeFailure(*file);
  const PublishEvent event = MeaningOf(*handle, witness);
  if (witness.dying_by_signal) GroupDied(*file, witness.group);
  Result<void> done = co_await publisher.Handle(file, event);
  if (file->content.state() == PublishState::kTorn && !HasVoucher(*file)) {
    Result<void> dropped =
        co_await publisher.Handle(file, PublishEvent::kVouchersGone);
    (void)dropped;  // nobody is left to be told
  }
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
    PublishEvent event = PublishEvent::kReleaseOther;
    if (file->open_writers == 0) {
      event = PublishEvent::kReleaseLast;
      // No FLUSH can come any more. A writer that lives has let go of the file
      // without one (io_uring closes so): that is a close, too.
      if (file->content.mapped_writes()) {
        event = PublishEvent::kReleaseLastVouched;
      } else if (file->content.state() == PublishState::kDirty) {
        bool lives = co_await WriterLives(file);
        if (lives) event = PublishEvent::kReleaseLastVouched;
      }
    }
    result = co_await publisher.Handle(file, event);
    if (!result) {
      // Nobody waits for a release: the next fsync or open of the file gets
      // the error, which stays.
      LogError("on release: " + result.error().ToString());
    }
  }
  publisher.CleanUpClosed(*file);
  guard.Release();
  names.DropIfUnused(file);
  co_return result;
}

}  // namespace ckptfs::fs
