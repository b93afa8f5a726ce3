// System calls on open files.
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "simulation/kernel_paths.h"
#include "simulation/sim_kernel.h"

namespace ckptfs::sim {

namespace {

constexpr std::size_t kMaxWrite = 1u << 20;

}  // namespace

Task<Result<int>> SimKernel::Open(Thread* t, std::string path, int flags) {
  SimMount* const mount = mount_;
  fs::StrandMutex::Guard directory;
  const bool create = (flags & O_CREAT) != 0;
  if (create) directory = co_await DirectoryLock(DirectoryOf(path)).Lock();
  auto file = std::make_shared<Description>();
  file->flags = flags;
  file->opened_or_wrote.insert(t->group->serial);
  const int serial = t->group->serial;
  for (int attempt = 0;; ++attempt) {
    if (mount->dead) co_return Fail(ErrorCode::kCancelled, "dead");
    Result<Found> found = co_await Walk(t, path, attempt == 0 && !create);
    if (mount->dead) co_return Fail(ErrorCode::kCancelled, "dead");
    if (found && found->file == nullptr) {
      co_return Fail(ErrorCode::kIsDirectory, path);
    }
    if (found && create && (flags & O_EXCL) != 0) {
      co_return Fail(ErrorCode::kAlreadyExists, path);
    }
    if (!found && (found.error().code() != ErrorCode::kNotFound || !create)) {
      co_return Fail(found.error());
    }
    std::optional<Error> error;
    InodePtr inode;
    if (found) {
      inode = found->inode;
      const std::shared_ptr<ModelFile> model = found->file;
      fs::StrandMutex::Guard change;
      const bool cut = (flags & O_TRUNC) != 0;
      if (cut) {
        change = co_await inode->change.Lock();
        if (mount->dead) co_return Fail(ErrorCode::kCancelled, "dead");
        model_.BeginChange(*model, Content());
      }
      ModelOp begin;
      begin.mount = mount->number;
      begin.file = model;
      begin.key = path;
      const std::uint64_t op = model_.Begin(std::move(begin)).id;
      model_.Trace(Who(t) + "open " + path + " flags " + std::to_string(flags));
      auto hook = [&, op, cut](Result<fs::OpenFile>& opened) {
        model_.Trace(
            Who(t) + "opened " + path +
            (opened ? " handle " + std::to_string(static_cast<std::uint64_t>(
                                       opened->handle))
                    : ": " + opened.error().ToString()));
        if (cut) model_.EndChange(*model, opened.has_value(), serial);
        // ESTALE makes the kernel look again.
        const bool again = !opened && attempt == 0 &&
                           opened.error().code() == ErrorCode::kStale;
        model_.End(op, again ? std::nullopt : ErrorOf(opened));
        if (!opened) return;
        file->ino = inode->ino;
        file->handle = opened->handle;
        file->file = model;
        ++model->handles;
        if (file->writable()) ++model->writable_handles;
      };
      Future<fs::OpenFile> reply = mount->Open(
          CallerOf(t), inode->ino, flags & ~(O_CREAT | O_EXCL), hook);
      Result<fs::OpenFile> opened = co_await std::move(reply);
      error = ErrorOf(opened);
    } else {
      Result<InodePtr> parent = co_await Parent(t, path);
      CKPTFS_CO_RETURN_IF_ERROR(parent);
      ModelOp begin;
      begin.mount = mount->number;
      begin.key = path;
      const std::uint64_t op = model_.Begin(std::move(begin)).id;
      model_.Trace(Who(t) + "create " + path + " flags " +
                   std::to_string(flags));
      auto hook = [&, op](Result<fs::CreatedFile>& made) {
        const ModelOp it = *model_.Find(op);
        model_.Trace(
            Who(t) + "created " + path +
            (made ? " handle " + std::to_string(static_cast<std::uint64_t>(
                                     made->open.handle))
                  : ": " + made.error().ToString()));
        model_.End(op, ErrorOf(made));
        if (!made) return;
        const fs::InodeNumber ino = made->entry.attributes.ino;
        inode = Learn(made->entry, path);
        names_[path] = {ino, mount->clock.Now() + made->entry.ttl};
        std::shared_ptr<ModelFile> model = model_.Known(mount->number, ino);
        const std::string etag = mount->Xattr(ino, "user.ckptfs.etag");
        if (model == nullptr && !etag.empty()) {
          model = model_.Found(mount->number, ino, path, etag,
                               made->entry.attributes.size, it);
        } else if (model == nullptr) {
          model = model_.Created(mount->number, ino, path, flags, serial);
        } else if ((flags & O_TRUNC) != 0) {
          model_.BeginChange(*model, Content());
          model_.EndChange(*model, true, serial);
        }
        file->ino = ino;
        file->handle = made->open.handle;
        file->file = model;
        ++model->handles;
        if (file->writable()) ++model->writable_handles;
      };
      Future<fs::CreatedFile> reply =
          mount->Create(CallerOf(t), (*parent)->ino, NameOf(path), flags, hook);
      Result<fs::CreatedFile> made = co_await std::move(reply);
      error = ErrorOf(made);
    }
    if (mount->dead) co_return Fail(ErrorCode::kCancelled, "dead");
    if (error) {
      if (error->code() == ErrorCode::kStale && attempt == 0) continue;
      co_return Fail(*error);
    }
    ++inode->users;
    if (file->writable()) inode->writers.push_back(file);
    descriptions_.push_back(file);
    const int fd = Install(*t->group, file, random_() % 2 == 0);
    co_return fd;
  }
}

Task<void> SimKernel::WritePages(InodePtr inode) {
  SimMount* const mount = mount_;
  fs::StrandMutex::Guard change = co_await inode->change.Lock();
  while (!inode->dirty.empty() && !mount->dead) {
    std::shared_ptr<Description> through;
    std::vector<std::shared_ptr<Description>> writers;
    for (const auto& weak : inode->writers) {
      auto file = weak.lock();
      if (file && file->references > 0 && !file->dead) writers.push_back(file);
    }
    if (writers.empty()) {
      inode->dirty.clear();
      co_return;
    }
    through = writers[random_() % writers.size()];
    const std::uint64_t page = *inode->dirty.begin();
    inode->dirty.erase(inode->dirty.begin());
    ModelFile& f = *through->file;
    const std::uint64_t at = page * kPage;
    if (at >= f.now().size()) continue;  // cut off meanwhile
    const std::size_t n = std::min<std::uint64_t>(kPage, f.now().size() - at);
    const WriteId id = next_id_++;
    Content content = f.now();
    content.Write(at, at + n, id);
    SlabSlice slice{mount->slabs.Acquire(), 0, n};
    Fill({slice.slab->data(), n}, id, at);
    ++through->references;
    model_.BeginChange(f, std::move(content));
    ModelOp begin;
    begin.kind = ModelOp::Kind::kWrite;
    begin.mount = mount->number;
    begin.file = through->file;
    const std::uint64_t op = model_.Begin(std::move(begin)).id;
    model_.Trace("page " + std::to_string(page) + " of " + f.key + " as " +
                 std::to_string(id) + " through handle " +
                 std::to_string(static_cast<std::uint64_t>(through->handle)));
    auto hook = [&, op](Result<std::size_t>& written) {
      model_.Trace("page written" +
                   (written ? "" : ": " + written.error().ToString()));
      f.mapped |= written.has_value();
      model_.EndChange(f, written.has_value(), 0);
      model_.End(op, ErrorOf(written));
    };
    const fs::Caller nobody;
    Future<std::size_t> reply =
        mount->Write(nobody, through->ino, through->handle, at,
                     std::move(slice), true, hook);
    Result<std::size_t> written = co_await std::move(reply);
    (void)written;
    Put(through);
  }
}

bool SimKernel::has_dirty_pages() const {
  return std::any_of(inodes_.begin(), inodes_.end(),
                     [](const auto& e) { return !e.second->dirty.empty(); });
}

Task<void> SimKernel::WriteSomePages() {
  std::vector<InodePtr> dirty;
  for (const auto& [ino, inode] : inodes_) {
    if (!inode->dirty.empty()) dirty.push_back(inode);
  }
  if (dirty.empty()) co_return;
  InodePtr inode = dirty[random_() % dirty.size()];
  dirty.clear();
  co_await WritePages(inode);
}

Task<Result<void>> SimKernel::Write(Thread* t, int fd, std::uint64_t offset,
                                    std::uint64_t size) {
  SimMount* const mount = mount_;
  std::shared_ptr<Description> file = File(t, fd);
  if (file == nullptr || !file->writable()) {
    co_return Fail(ErrorCode::kInvalidArgument, "EBADF");
  }
  InodePtr inode = InodeOf(file->ino);
  ++file->references;
  fs::StrandMutex::Guard lock = co_await inode->lock.Lock();
  const int serial = t->group->serial;
  std::optional<Error> error;
  std::uint64_t done = 0;
  while (done < size && !error && !mount->dead && !file->dead) {
    fs::StrandMutex::Guard change = co_await inode->change.Lock();
    if (mount->dead) break;
    ModelFile& f = *file->file;
    const std::uint64_t at = file->append() ? f.now().size() : offset + done;
    const std::size_t n = std::min<std::uint64_t>(kMaxWrite, size - done);
    const WriteId id = next_id_++;
    Content content = f.now();
    content.Write(at, at + n, id);
    SlabSlice slice{mount->slabs.Acquire(), 80, n};
    Fill({slice.slab->data() + 80, n}, id, at);
    file->opened_or_wrote.insert(serial);
    model_.BeginChange(f, std::move(content));
    ModelOp begin;
    begin.kind = ModelOp::Kind::kWrite;
    begin.mount = mount->number;
    begin.file = file->file;
    const std::uint64_t op = model_.Begin(std::move(begin)).id;
    model_.Trace(Who(t) + "write " + f.key + " " + std::to_string(at) + "+" +
                 std::to_string(n) + " as " + std::to_string(id) +
                 (file->append() ? " append" : "") + " handle " +
                 std::to_string(static_cast<std::uint64_t>(file->handle)));
    auto hook = [&, op](Result<std::size_t>& written) {
      model_.Trace(Who(t) + "wrote " + std::to_string(id) +
                   (written ? "" : ": " + written.error().ToString()));
      model_.EndChange(f, written.has_value(), serial);
      // Refused without harm to the file.
      if (!written && file->lost) {
        model_.End(op, std::nullopt);
      } else {
        model_.End(op, ErrorOf(written));
      }
    };
    Future<std::size_t> reply =
        mount->Write(CallerOf(t), file->ino, file->handle, at, std::move(slice),
                     false, hook);
    Result<std::size_t> written = co_await std::move(reply);
    error = ErrorOf(written);
    done += n;
    if (t->group->ending) break;
  }
  lock.Release();
  Put(file);
  if (error) co_return Fail(*error);
  co_return Result<void>();
}

Task<Result<void>> SimKernel::Read(Thread* t, int fd, std::uint64_t offset,
                                   std::uint64_t size) {
  SimMount* const mount = mount_;
  std::shared_ptr<Description> file = File(t, fd);
  if (file == nullptr || !file->readable()) {
    co_return Fail(ErrorCode::kInvalidArgument, "EBADF");
  }
  ++file->references;
  ModelOp begin;
  begin.kind = ModelOp::Kind::kRead;
  begin.mount = mount->number;
  begin.file = file->file;
  const std::uint64_t op = model_.Begin(std::move(begin)).id;
  model_.Trace(Who(t) + "read " + file->file->key + " " +
               std::to_string(offset) + "+" + std::to_string(size) +
               " handle " +
               std::to_string(static_cast<std::uint64_t>(file->handle)));
  auto hook = [&, op](Result<Payload>& got) {
    const ModelOp it = *model_.Find(op);
    model_.Trace(Who(t) + "read done" +
                 (got ? " " + std::to_string(got->size())
                      : ": " + got.error().ToString()));
    model_.End(op, ErrorOf(got));
    if (got) model_.CheckRead(it, offset, size, *got);
  };
  Future<Payload> reply =
      mount->Read(file->ino, file->handle, offset, size, hook);
  Result<Payload> got = co_await std::move(reply);
  Put(file);
  if (!got) co_return Fail(got.error());
  co_return Result<void>();
}

Task<Result<void>> SimKernel::Flush(Thread* t,
                                    std::shared_ptr<Description> file) {
  SimMount* const mount = mount_;
  Group& g = *t->group;
  InodePtr inode = InodeOf(file->ino);
  co_await WritePages(inode);
  if (file->dead) co_return Fail(ErrorCode::kCancelled, "dead");
  ModelFile& f = *file->file;
  const bool opened = file->opened_or_wrote.count(g.serial) != 0;
  const bool visible = !g.foreign && !g.hidden;
  // A number that was given out again names the older group as well.
  const bool may_be_known = opened || !visible || mount->oracle.ambiguous();
  const bool has_other = !g.table_gone && g.HasWritable(file->ino);
  const std::uint64_t changes = g.table_changes;
  const bool was_dying = g.dying;
  const bool wrote =
      f.last_write.count(g.serial) != 0 && f.last_write[g.serial] > f.published;
  ModelOp begin;
  begin.kind = ModelOp::Kind::kClose;
  begin.mount = mount->number;
  begin.file = file->file;
  begin.vouches = file->writable() && may_be_known && !(visible && was_dying);
  begin.still_vouches = [&g, visible, has_other, changes] {
    return !visible || !has_other || g.table_changes != changes;
  };
  begin.must_publish = file->writable() && opened && wrote && !has_other;
  begin.eligible = file->writable() && opened && !was_dying;
  const bool tears = file->writable() && opened && was_dying && visible;
  if (tears && f.unpublished()) f.tearing = true;
  const std::uint64_t op = model_.Begin(std::move(begin)).id;
  model_.Trace(Who(t) + "flush " + f.key + " handle " +
               std::to_string(static_cast<std::uint64_t>(file->handle)) +
               (has_other ? " shared" : "") + (opened ? "" : " stranger"));
  auto hook = [&, op](Result<void>& flushed) {
    model_.Trace(Who(t) + "flushed " + f.key + " handle " +
                 std::to_string(static_cast<std::uint64_t>(file->handle)) +
                 (flushed ? "" : ": " + flushed.error().ToString()));
    ModelOp* const it = model_.Find(op);
    if (g.dying || g.table_changes != changes) it->must_publish = false;
    // What its writer lost is told to it once, and binds nobody.
    if (g.dying || file->lost) it->eligible = false;
    if (file->lost) it->must_publish = false;
    if (tears) {
      f.tearing = false;
      f.torn |= wrote && f.published < f.current();
    }
    model_.End(op, file->lost ? std::nullopt : ErrorOf(flushed));
    // The last that could vouch for the bytes is dead.
    if (tears && f.published < f.current() && f.linked && !f.lost &&
        !WriterLives(f) && ThrownAway(*mount, f)) {
      model_.Trace("nobody is left to vouch for " + f.key);
      model_.Discarded(f);
      for (const auto& weak : descriptions_) {
        const auto other = weak.lock();
        if (other && other->file.get() == &f) other->lost = true;
      }
    }
  };
  Future<void> reply = mount->Flush(CallerOf(t), file->ino, file->handle, hook);
  Result<void> flushed = co_await std::move(reply);
  co_return flushed;
}

Task<Result<void>> SimKernel::Close(Thread* t, int fd) {
  Group& g = *t->group;
  const auto it = g.table.find(fd);
  if (it == g.table.end()) co_return Fail(ErrorCode::kInvalidArgument, "EBADF");
  std::shared_ptr<Description> file = it->second.file;
  g.table.erase(it);
  if (file->writable()) ++g.table_changes;
  if (file->dead) co_return Result<void>();
  Result<void> flushed = co_await Flush(t, file);
  Put(file);
  co_return flushed;
}

Task<Result<void>> SimKernel::Fsync(Thread* t, int fd) {
  SimMount* const mount = mount_;
  std::shared_ptr<Description> file = File(t, fd);
  if (file == nullptr) co_return Fail(ErrorCode::kInvalidArgument, "EBADF");
  ++file->references;
  InodePtr inode = InodeOf(file->ino);
  co_await WritePages(inode);
  if (file->dead) co_return Fail(ErrorCode::kCancelled, "dead");
  ModelOp begin;
  begin.kind = ModelOp::Kind::kFsync;
  begin.mount = mount->number;
  begin.file = file->file;
  begin.vouches = begin.must_publish = true;
  if (!file->writable() && (file->file->torn || file->file->tearing)) {
    // Who only reads vouches for nothing.
    begin.must_publish = false;
    begin.vouches = file->file->tearing;
  }
  begin.eligible = file->writable();
  const std::uint64_t op = model_.Begin(std::move(begin)).id;
  model_.Trace(Who(t) + "fsync " + file->file->key + " handle " +
               std::to_string(static_cast<std::uint64_t>(file->handle)) +
               (file->writable() ? "" : " read-only"));
  auto hook = [&, op](Result<void>& synced) {
    model_.Trace(Who(t) + "fsynced " + file->file->key +
                 (synced ? "" : ": " + synced.error().ToString()));
    model_.End(op, file->lost && !synced ? std::nullopt : ErrorOf(synced));
  };
  Future<void> reply = mount->Fsync(CallerOf(t), file->ino, file->handle, hook);
  Result<void> synced = co_await std::move(reply);
  Put(file);
  co_return synced;
}

}  // namespace ckptfs::sim
