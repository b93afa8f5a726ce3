// System calls on names and attributes, and what processes do to their tables.
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "simulation/kernel_paths.h"
#include "simulation/sim_kernel.h"

namespace ckptfs::sim {

Task<Result<void>> SimKernel::SetSize(Thread* t, InodePtr inode,
                                      std::shared_ptr<ModelFile> file,
                                      std::shared_ptr<Description> through,
                                      std::uint64_t size) {
  SimMount* const mount = mount_;
  fs::StrandMutex::Guard lock = co_await inode->lock.Lock();
  fs::StrandMutex::Guard change = co_await inode->change.Lock();
  if (mount->dead) co_return Fail(ErrorCode::kCancelled, "dead");
  const int serial = t->group->serial;
  ModelOp begin;
  begin.mount = mount->number;
  begin.file = file;
  if (through == nullptr) {
    begin.kind = ModelOp::Kind::kTruncate;
    begin.vouches = true;
    begin.must_publish = !file->unpublished();
  }
  Content content = file->now();
  content.Resize(size);
  model_.BeginChange(*file, std::move(content));
  const std::uint64_t op = model_.Begin(std::move(begin)).id;
  model_.Trace(Who(t) + (through ? "ftruncate " : "truncate ") + file->key +
               " to " + std::to_string(size));
  auto hook = [&, op, size](Result<fs::Entry>& done) {
    model_.Trace(Who(t) + "truncated " + file->key +
                 (done ? "" : ": " + done.error().ToString()));
    model_.EndChange(*file, done.has_value(), serial);
    if (done) model_.Find(op)->version = file->current();
    const bool lost = through != nullptr && through->lost;
    model_.End(op, lost ? std::nullopt : ErrorOf(done));
    if (done && done->attributes.size != size && !file->lost &&
        (file->linked || through != nullptr)) {
      model_.Violate("A4 cut to " + std::to_string(size) + ", " + file->key +
                     " shows " + std::to_string(done->attributes.size));
    }
  };
  fs::AttributeChange to;
  to.size = size;
  if (through != nullptr) to.handle = through->handle;
  Future<fs::Entry> reply =
      mount->SetAttributes(CallerOf(t), inode->ino, std::move(to), hook);
  Result<fs::Entry> done = co_await std::move(reply);
  if (!done) co_return Fail(done.error());
  std::erase_if(inode->dirty,
                [size](std::uint64_t page) { return page * kPage >= size; });
  co_return Result<void>();
}

Task<Result<void>> SimKernel::Ftruncate(Thread* t, int fd, std::uint64_t size) {
  std::shared_ptr<Description> file = File(t, fd);
  if (file == nullptr || !file->writable()) {
    co_return Fail(ErrorCode::kInvalidArgument, "EBADF");
  }
  ++file->references;
  InodePtr inode = InodeOf(file->ino);
  Result<void> done = co_await SetSize(t, inode, file->file, file, size);
  Put(file);
  co_return done;
}

Task<Result<void>> SimKernel::Truncate(Thread* t, std::string path,
                                       std::uint64_t size) {
  SimMount* const mount = mount_;
  for (int attempt = 0;; ++attempt) {
    Result<Found> found = co_await Walk(t, path, attempt == 0);
    CKPTFS_CO_RETURN_IF_ERROR(found);
    if (found->file == nullptr) co_return Fail(ErrorCode::kIsDirectory, path);
    InodePtr inode = found->inode;
    std::shared_ptr<ModelFile> file = found->file;
    Result<void> done = co_await SetSize(t, inode, file, nullptr, size);
    if (done || attempt > 0 || mount->dead ||
        done.error().code() != ErrorCode::kStale) {
      co_return done;
    }
  }
}

Task<Result<void>> SimKernel::Rename(Thread* t, std::string from,
                                     std::string to, unsigned flags) {
  SimMount* const mount = mount_;
  std::string first = DirectoryOf(from);
  std::string second = DirectoryOf(to);
  if (second < first) std::swap(first, second);
  fs::StrandMutex::Guard first_lock = co_await DirectoryLock(first).Lock();
  fs::StrandMutex::Guard second_lock;
  if (first != second) second_lock = co_await DirectoryLock(second).Lock();
  for (int attempt = 0;; ++attempt) {
    if (mount->dead) co_return Fail(ErrorCode::kCancelled, "dead");
    Result<Found> source = co_await Walk(t, from, attempt == 0);
    CKPTFS_CO_RETURN_IF_ERROR(source);
    Result<Found> target = co_await Walk(t, to, attempt == 0);
    if (!target && target.error().code() != ErrorCode::kNotFound) {
      co_return Fail(target.error());
    }
    if (source->file == nullptr || (target && target->file == nullptr)) {
      co_return Fail(ErrorCode::kIsDirectory, from);
    }
    if (target && target->inode == source->inode) co_return Result<void>();
    if (target && flags != 0) co_return Fail(ErrorCode::kAlreadyExists, to);
    Result<InodePtr> from_parent = co_await Parent(t, from);
    CKPTFS_CO_RETURN_IF_ERROR(from_parent);
    Result<InodePtr> to_parent = co_await Parent(t, to);
    CKPTFS_CO_RETURN_IF_ERROR(to_parent);
    InodePtr low = source->inode;
    InodePtr high;
    if (target) high = target->inode;
    if (high != nullptr && high->ino < low->ino) std::swap(low, high);
    fs::StrandMutex::Guard low_lock = co_await low->lock.Lock();
    fs::StrandMutex::Guard high_lock;
    if (high != nullptr) high_lock = co_await high->lock.Lock();
    if (mount->dead) co_return Fail(ErrorCode::kCancelled, "dead");
    ModelOp begin;
    begin.kind = ModelOp::Kind::kRename;
    begin.mount = mount->number;
    begin.file = source->file;
    begin.key = from;
    begin.new_key = to;
    begin.no_replace = flags != 0;
    begin.vouches = begin.must_publish = true;
    begin.writer_lives = [this, f = source->file] { return WriterLives(*f); };
    const std::uint64_t op = model_.Begin(std::move(begin)).id;
    model_.Trace(Who(t) + "rename " + from + " to " + to +
                 (flags != 0 ? " noreplace" : ""));
    auto hook = [&, op, attempt](Result<void>& renamed) {
      model_.Trace(Who(t) + "renamed " + from + " to " + to +
                   (renamed ? "" : ": " + renamed.error().ToString()));
      const bool again = !renamed && attempt == 0 &&
                         renamed.error().code() == ErrorCode::kStale;
      (void)again;
      model_.End(op, ErrorOf(renamed));
    };
    Future<void> reply =
        mount->Rename((*from_parent)->ino, NameOf(from), (*to_parent)->ino,
                      NameOf(to), flags, hook);
    Result<void> renamed = co_await std::move(reply);
    if (mount->dead) co_return Fail(ErrorCode::kCancelled, "dead");
    if (renamed) {
      const auto moved = names_.find(from);
      names_.erase(to);
      if (moved != names_.end()) {
        names_[to] = moved->second;
        names_.erase(from);
      }
      if (target) Drop(target->inode, "");
      co_return renamed;
    }
    if (attempt > 0 || renamed.error().code() != ErrorCode::kStale) {
      co_return renamed;
    }
  }
}

Task<Result<void>> SimKernel::Unlink(Thread* t, std::string path) {
  SimMount* const mount = mount_;
  fs::StrandMutex::Guard directory =
      co_await DirectoryLock(DirectoryOf(path)).Lock();
  for (int attempt = 0;; ++attempt) {
    if (mount->dead) co_return Fail(ErrorCode::kCancelled, "dead");
    Result<Found> found = co_await Walk(t, path, attempt == 0);
    CKPTFS_CO_RETURN_IF_ERROR(found);
    if (found->file == nullptr) co_return Fail(ErrorCode::kIsDirectory, path);
    Result<InodePtr> parent = co_await Parent(t, path);
    CKPTFS_CO_RETURN_IF_ERROR(parent);
    InodePtr inode = found->inode;
    fs::StrandMutex::Guard lock = co_await inode->lock.Lock();
    if (mount->dead) co_return Fail(ErrorCode::kCancelled, "dead");
    ModelOp begin;
    begin.kind = ModelOp::Kind::kUnlink;
    begin.mount = mount->number;
    begin.file = found->file;
    begin.key = path;
    const std::uint64_t op = model_.Begin(std::move(begin)).id;
    model_.Trace(Who(t) + "unlink " + path);
    auto hook = [&, op](Result<void>& done) {
      model_.Trace(Who(t) + "unlinked " + path +
                   (done ? "" : ": " + done.error().ToString()));
      model_.End(op, ErrorOf(done));
    };
    Future<void> reply = mount->Unlink((*parent)->ino, NameOf(path), hook);
    Result<void> done = co_await std::move(reply);
    if (mount->dead) co_return Fail(ErrorCode::kCancelled, "dead");
    lock.Release();
    names_.erase(path);
    if (done) Drop(inode, path);
    if (done || attempt > 0 || done.error().code() != ErrorCode::kStale) {
      co_return done;
    }
  }
}

Task<Result<void>> SimKernel::Mkdir(Thread* t, std::string path) {
  SimMount* const mount = mount_;
  fs::StrandMutex::Guard directory =
      co_await DirectoryLock(DirectoryOf(path)).Lock();
  if (mount->dead) co_return Fail(ErrorCode::kCancelled, "dead");
  Result<InodePtr> parent = co_await Parent(t, path);
  CKPTFS_CO_RETURN_IF_ERROR(parent);
  ModelOp begin;
  begin.kind = ModelOp::Kind::kDirectory;
  begin.mount = mount->number;
  begin.key = path;
  const std::uint64_t op = model_.Begin(std::move(begin)).id;
  auto hook = [&, op](Result<fs::Entry>& made) {
    model_.Trace(Who(t) + "mkdir " + path +
                 (made ? "" : ": " + made.error().ToString()));
    model_.End(op, ErrorOf(made));
    if (!made) return;
    (void)Learn(*made, path);
    names_[path] = {made->attributes.ino, mount->clock.Now() + made->ttl};
  };
  Future<fs::Entry> reply =
      mount->MakeDirectory(CallerOf(t), (*parent)->ino, NameOf(path), hook);
  Result<fs::Entry> made = co_await std::move(reply);
  if (!made) co_return Fail(made.error());
  co_return Result<void>();
}

Task<Result<void>> SimKernel::Rmdir(Thread* t, std::string path) {
  SimMount* const mount = mount_;
  fs::StrandMutex::Guard directory =
      co_await DirectoryLock(DirectoryOf(path)).Lock();
  // The directory that goes is locked as well.
  fs::StrandMutex::Guard inner = co_await DirectoryLock(path).Lock();
  if (mount->dead) co_return Fail(ErrorCode::kCancelled, "dead");
  Result<Found> found = co_await Walk(t, path, true);
  CKPTFS_CO_RETURN_IF_ERROR(found);
  Result<InodePtr> parent = co_await Parent(t, path);
  CKPTFS_CO_RETURN_IF_ERROR(parent);
  ModelOp begin;
  begin.kind = ModelOp::Kind::kDirectory;
  begin.mount = mount->number;
  begin.key = path;
  const std::uint64_t op = model_.Begin(std::move(begin)).id;
  auto hook = [&, op](Result<void>& done) {
    model_.Trace(Who(t) + "rmdir " + path +
                 (done ? "" : ": " + done.error().ToString()));
    model_.End(op, ErrorOf(done));
  };
  Future<void> reply =
      mount->RemoveDirectory((*parent)->ino, NameOf(path), hook);
  Result<void> done = co_await std::move(reply);
  if (!mount->dead && done) Drop(found->inode, path);
  co_return done;
}

Task<Result<void>> SimKernel::Chmod(Thread* t, std::string path, mode_t mode) {
  SimMount* const mount = mount_;
  Result<Found> found = co_await Walk(t, path, true);
  CKPTFS_CO_RETURN_IF_ERROR(found);
  InodePtr inode = found->inode;
  fs::StrandMutex::Guard lock = co_await inode->lock.Lock();
  if (mount->dead) co_return Fail(ErrorCode::kCancelled, "dead");
  ModelOp begin;
  begin.mount = mount->number;
  begin.key = path;
  begin.file = found->file;
  const std::uint64_t op = model_.Begin(std::move(begin)).id;
  auto hook = [&, op](Result<fs::Entry>& done) {
    model_.Trace(Who(t) + "chmod " + path +
                 (done ? "" : ": " + done.error().ToString()));
    model_.End(op, ErrorOf(done));
  };
  fs::AttributeChange change;
  if (mode != 0) {
    change.mode = mode;
  } else {
    change.mtime =
        WallTime(std::chrono::seconds(1'700'000'000 + random_() % 1000));
  }
  Future<fs::Entry> reply =
      mount->SetAttributes(CallerOf(t), inode->ino, std::move(change), hook);
  Result<fs::Entry> done = co_await std::move(reply);
  if (!done) co_return Fail(done.error());
  co_return Result<void>();
}

Task<Result<void>> SimKernel::Stat(Thread* t, std::string path) {
  Result<Found> found = co_await Walk(t, path, false);
  if (!found) co_return Fail(found.error());
  co_return Result<void>();
}

Result<int> SimKernel::Dup(Thread* t, int fd) {
  std::shared_ptr<Description> file = File(t, fd);
  if (file == nullptr) return Fail(ErrorCode::kInvalidArgument, "EBADF");
  model_.Trace(Who(t) + "dup of handle " +
               std::to_string(static_cast<std::uint64_t>(file->handle)));
  return Install(*t->group, std::move(file), false);
}

Result<void> SimKernel::Mmap(Thread* t, int fd) {
  std::shared_ptr<Description> file = File(t, fd);
  if (file == nullptr || !file->writable() || !file->readable()) {
    return Fail(ErrorCode::kInvalidArgument, "EACCES");
  }
  ++file->references;
  ++file->mappings;
  model_.Trace(Who(t) + "mmap " + file->file->key + " handle " +
               std::to_string(static_cast<std::uint64_t>(file->handle)));
  t->group->mappings.push_back(std::move(file));
  return {};
}

Result<void> SimKernel::DirtyPage(Description& file,
                                  std::optional<std::uint64_t> which) {
  const std::uint64_t size = file.file->now().size();
  if (file.dead || size == 0 || file.file->lost) {
    return Fail(ErrorCode::kInvalidArgument, "SIGBUS");
  }
  const std::uint64_t page =
      which ? *which : random_() % ((size + kPage - 1) / kPage);
  InodeOf(file.ino)->dirty.insert(page);
  model_.Trace("page " + std::to_string(page) + " of " + file.file->key +
               " is dirty");
  return {};
}

Task<Result<void>> SimKernel::Munmap(Thread* t, std::size_t index) {
  std::shared_ptr<Description> file = t->group->mappings[index];
  t->group->mappings.erase(t->group->mappings.begin() +
                           static_cast<std::ptrdiff_t>(index));
  if (file->dead) co_return Result<void>();
  InodePtr inode = InodeOf(file->ino);
  co_await WritePages(inode);
  --file->mappings;
  model_.Trace(Who(t) + "munmap " + file->file->key);
  Put(file);
  co_return Result<void>();
}

Task<void> SimKernel::Exit(Thread* t) {
  Group& g = *t->group;
  if (g.living_threads() > 1) {
    model_.Trace(Who(t) + "thread ends");
    t->ended = true;
    co_return;
  }
  model_.Trace(Who(t) + (g.dying ? "dies" : "exits"));
  g.ending = true;
  while (!g.mappings.empty()) {
    Result<void> unmapped = co_await Munmap(t, 0);
    (void)unmapped;
  }
  // exit_files(): /proc shows no descriptors from here on.
  g.table_gone = true;
  while (!g.table.empty()) {
    Result<void> closed = co_await Close(t, g.table.begin()->first);
    (void)closed;
  }
  t->ended = true;
}

Task<void> SimKernel::CloseOnExec(Thread* t) {
  Group& g = *t->group;
  model_.Trace(Who(t) + "exec");
  while (!g.mappings.empty()) {
    Result<void> unmapped = co_await Munmap(t, 0);
    (void)unmapped;
  }
  while (true) {
    const auto next = std::find_if(
        g.table.begin(), g.table.end(),
        [](const auto& entry) { return entry.second.close_on_exec; });
    if (next == g.table.end()) break;
    Result<void> closed = co_await Close(t, next->first);
    (void)closed;
  }
}

}  // namespace ckptfs::sim
