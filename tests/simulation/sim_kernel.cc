#include "simulation/sim_kernel.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace ckptfs::sim {

namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::size_t kMaxWrite = 1u << 20;

std::string DirectoryOf(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}
std::string NameOf(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

template <typename T>
std::optional<Error> ErrorOf(const Result<T>& result) {
  return result ? std::nullopt : std::optional(result.error());
}

}  // namespace

WriteId SimKernel::next_id_ = 1;

std::string SimKernel::Who(const Thread* t) const {
  const Group& g = *t->group;
  return "[m" + std::to_string(mount_->number) + " g" +
         std::to_string(g.serial) + " t" + std::to_string(t->tid) +
         (g.foreign ? " other-ns" : "") + (g.hidden ? " hidden" : "") +
         (g.dying ? " dying" : g.ending ? " exiting" : "") + "] ";
}

void SimKernel::Died() {
  for (const auto& weak : descriptions_) {
    if (const auto file = weak.lock()) file->dead = true;
  }
  descriptions_.clear();
  late.clear();
  names_.clear();
  inodes_.clear();
}

fs::StrandMutex& SimKernel::DirectoryLock(const std::string& path) {
  auto& lock = directory_locks_[path];
  if (!lock) lock = std::make_unique<fs::StrandMutex>();
  return *lock;
}

SimKernel::InodePtr SimKernel::InodeOf(fs::InodeNumber ino) {
  InodePtr& inode = inodes_[ino];
  if (!inode) {
    inode = std::make_shared<KernelInode>();
    inode->ino = ino;
  }
  return inode;
}

SimKernel::InodePtr SimKernel::Learn(const fs::Entry& entry,
                                     const std::string& path) {
  InodePtr inode = InodeOf(entry.attributes.ino);
  if (S_ISDIR(entry.attributes.mode)) inode->directory = path;
  ++inode->lookups;
  return inode;
}

// A directory stays while a name below it is known or open.
bool SimKernel::Pinned(const KernelInode& inode) const {
  if (inode.directory.empty()) return false;
  const std::string below = inode.directory + "/";
  for (const auto& [path, name] : names_) {
    if (path.rfind(below, 0) == 0) return true;
  }
  for (const auto& weak : descriptions_) {
    const auto file = weak.lock();
    if (file && file->file->key.rfind(below, 0) == 0) return true;
  }
  return false;
}

Task<Result<SimKernel::InodePtr>> SimKernel::Parent(Thread* t,
                                                    std::string path) {
  const std::string directory = DirectoryOf(path);
  if (directory.empty()) {
    InodePtr root = InodeOf(fs::kRootInode);
    co_return root;
  }
  Result<Found> found = co_await Walk(t, directory, true);
  CKPTFS_CO_RETURN_IF_ERROR(found);
  if (found->file != nullptr) {
    co_return Fail(ErrorCode::kNotDirectory, directory);
  }
  InodePtr inode = found->inode;
  co_return inode;
}

Task<Result<SimKernel::Found>> SimKernel::Walk(Thread* t, std::string path,
                                               bool cached) {
  const std::string invalid = NameOf(path);
  if (mount_->invalidated.erase(invalid) > 0) names_.erase(path);
  const auto known = names_.find(path);
  if (cached && known != names_.end() &&
      known->second.expires > mount_->clock.Now()) {
    Found found;
    found.inode = InodeOf(known->second.ino);
    found.file = model_.Known(mount_->number, known->second.ino);
    co_return found;
  }
  names_.erase(path);
  Result<InodePtr> parent = co_await Parent(t, path);
  CKPTFS_CO_RETURN_IF_ERROR(parent);
  ModelOp begin;
  begin.mount = mount_->number;
  begin.key = path;
  begin.file = model_.At(mount_->number, path);
  const std::uint64_t op = model_.Begin(std::move(begin)).id;
  Found found;
  auto hook = [&, op, mount = mount_](Result<fs::Entry>& entry) {
    const ModelOp it = *model_.Find(op);
    model_.Trace(Who(t) + "lookup " + path +
                 (entry ? " -> " + std::to_string(static_cast<std::uint64_t>(
                                       entry->attributes.ino) &
                                   0xffffff)
                        : " -> " + entry.error().ToString()));
    model_.End(op, ErrorOf(entry));
    if (!entry) {
      if (entry.error().code() == ErrorCode::kNotFound) model_.CheckAbsent(it);
      return;
    }
    found.inode = Learn(*entry, path);
    names_[path] = {entry->attributes.ino, mount->clock.Now() + entry->ttl};
    if (S_ISDIR(entry->attributes.mode)) return;
    found.file = model_.Found(
        mount->number, entry->attributes.ino, path,
        mount->Xattr(entry->attributes.ino, "user.ckptfs.etag"),
        entry->attributes.size, it);
    if (found.file == it.file) model_.CheckSize(it, entry->attributes.size);
  };
  Future<fs::Entry> reply =
      mount_->Lookup(CallerOf(t), (*parent)->ino, NameOf(path), hook);
  Result<fs::Entry> entry = co_await std::move(reply);
  CKPTFS_CO_RETURN_IF_ERROR(entry);
  co_return found;
}

void SimKernel::Forget(const InodePtr& inode) {
  inodes_.erase(inode->ino);
  std::erase_if(names_,
                [&](const auto& e) { return e.second.ino == inode->ino; });
  const std::uint64_t lookups = std::exchange(inode->lookups, 0);
  if (lookups == 0 || inode->ino == fs::kRootInode) return;
  late.push_back({"forget", [this, ino = inode->ino, lookups] {
                    model_.Trace("forget " +
                                 std::to_string(static_cast<std::uint64_t>(ino)
                                                & 0xffffff) +
                                 " " + std::to_string(lookups));
                    mount_->Forget(ino, lookups);
                  }});
}

// The name is gone; the inode goes with its last user.
void SimKernel::Drop(const InodePtr& inode, const std::string& path) {
  names_.erase(path);
  // Held here and by the table.
  if (inode->users == 0 && inode.use_count() <= 3 && inode->dirty.empty()) {
    Forget(inode);
  }
}

void SimKernel::EvictOne() {
  std::vector<InodePtr> idle;
  for (const auto& [ino, inode] : inodes_) {
    if (ino != fs::kRootInode && inode->users == 0 && inode.use_count() == 1 &&
        inode->dirty.empty() && !Pinned(*inode)) {
      idle.push_back(inode);
    }
  }
  if (!idle.empty()) Forget(idle[random_() % idle.size()]);
}

std::shared_ptr<Description> SimKernel::File(Thread* t, int fd) {
  const auto it = t->group->table.find(fd);
  if (it == t->group->table.end() || it->second.file->dead) return nullptr;
  return it->second.file;
}

int SimKernel::Install(Group& group, std::shared_ptr<Description> file,
                       bool cloexec) {
  int fd = 3;
  while (group.table.count(fd) != 0) ++fd;
  ++file->references;
  if (file->writable()) ++group.table_changes;
  group.table[fd] = {std::move(file), cloexec};
  return fd;
}

void SimKernel::CopyTable(const Group& from, Group& to) {
  for (const auto& [fd, descriptor] : from.table) {
    to.table[fd] = descriptor;
    ++descriptor.file->references;
  }
}

void SimKernel::Put(const std::shared_ptr<Description>& file) {
  if (--file->references > 0 || file->dead) return;
  const auto inode = inodes_.find(file->ino);
  if (inode != inodes_.end()) --inode->second->users;
  late.push_back({"release of " + file->file->key, [this, file] {
                    if (!file->dead) Release(file);
                  }});
}

bool SimKernel::WriterLives(const ModelFile& file) const {
  for (const auto& g : processes_.groups) {
    const auto wrote = file.last_write.find(g->serial);
    if (wrote == file.last_write.end() || wrote->second <= file.published) {
      continue;
    }
    if (g->foreign || g->hidden || (!g->dying && !g->ended())) return true;
  }
  return false;
}

bool SimKernel::ThrownAway(SimMount& mount, const ModelFile& file) const {
  const std::vector<std::string> open = mount.files->UnpublishedFiles();
  return std::find(open.begin(), open.end(), file.key) == open.end();
}

void SimKernel::Release(const std::shared_ptr<Description>& file) {
  ModelOp begin;
  begin.kind = ModelOp::Kind::kRelease;
  begin.mount = mount_->number;
  begin.file = file->file;
  begin.vouches = file->writable();
  begin.still_vouches = [this, f = file->file] {
    return f->mapped || WriterLives(*f);
  };
  const std::uint64_t op = model_.Begin(std::move(begin)).id;
  model_.Trace("release of " + file->file->key + " handle " +
               std::to_string(static_cast<std::uint64_t>(file->handle)));
  auto hook = [this, file, op, mount = mount_](Result<void>& result) {
    ModelFile& f = *file->file;
    model_.Trace("released " + f.key + " handle " +
                 std::to_string(static_cast<std::uint64_t>(file->handle)) +
                 (result ? "" : ": " + result.error().ToString()));
    model_.End(op, std::nullopt);
    --f.handles;
    if (!file->writable()) return;
    if (--f.writable_handles > 0 || f.lost || !f.linked || f.pending) return;
    if (!ThrownAway(*mount, f)) return;
    if (f.unpublished()) {
      if (f.mapped && !f.torn && !f.failed && !f.foreign && !f.exclusive &&
          model_.faults(mount->number) == f.faults_at_clean) {
        model_.Violate("A1 mapped pages of " + f.key + " were thrown away");
      }
      model_.Discarded(f);
    } else if (f.failed || f.torn) {
      model_.Discarded(f);
    }
  };
  Future<void> ignored = mount_->Release(file->ino, file->handle, hook);
  (void)ignored;
}

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
        model_.Trace(Who(t) + "opened " + path +
                     (opened ? " handle " + std::to_string(
                                                static_cast<std::uint64_t>(
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
        model_.Trace(Who(t) + "created " + path +
                     (made ? " handle " + std::to_string(
                                              static_cast<std::uint64_t>(
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
  return std::any_of(inodes_.begin(), inodes_.end(), [](const auto& e) {
    return !e.second->dirty.empty();
  });
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
        mount->Write(CallerOf(t), file->ino, file->handle, at,
                     std::move(slice), false, hook);
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
    if (g.dying) it->eligible = false;
    if (tears) {
      f.tearing = false;
      f.torn = f.unpublished();
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
  Future<void> reply =
      mount->Flush(CallerOf(t), file->ino, file->handle, hook);
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
  Future<void> reply =
      mount->Fsync(CallerOf(t), file->ino, file->handle, hook);
  Result<void> synced = co_await std::move(reply);
  Put(file);
  co_return synced;
}

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

Task<Result<void>> SimKernel::Ftruncate(Thread* t, int fd,
                                        std::uint64_t size) {
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
    Future<void> reply = mount->Rename((*from_parent)->ino, NameOf(from), (*to_parent)->ino,
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
  Future<void> reply = mount->RemoveDirectory((*parent)->ino, NameOf(path), hook);
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
    change.mtime = WallTime(std::chrono::seconds(1'700'000'000 +
                                                 random_() % 1000));
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
    const auto next =
        std::find_if(g.table.begin(), g.table.end(), [](const auto& entry) {
          return entry.second.close_on_exec;
        });
    if (next == g.table.end()) break;
    Result<void> closed = co_await Close(t, next->first);
    (void)closed;
  }
}

}  // namespace ckptfs::sim
