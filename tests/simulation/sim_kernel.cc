// The kernel of the simulation: names, inodes and references.
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "simulation/kernel_paths.h"
#include "simulation/sim_kernel.h"

namespace ckptfs::sim {

WriteId SimKernel::next_id_ = 1;

std::string SimKernel::Who(const Thread* t) const {
  const Group& g = *t->group;
  return "[m" + std::to_string(mount_->number) + " g" +
         std::to_string(g.serial) + " t" + std::to_string(t->tid) +
         (g.foreign ? " other-ns" : "") + (g.hidden ? " hidden" : "") +
         (g.dying    ? " dying"
          : g.ending ? " exiting"
                     : "") +
         "] ";
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
    found.file =
        model_.Found(mount->number, entry->attributes.ino, path,
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
  late.push_back(
      {"forget", [this, ino = inode->ino, lookups] {
         model_.Trace(
             "forget " +
             std::to_string(static_cast<std::uint64_t>(ino) & 0xffffff) + " " +
             std::to_string(lookups));
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

}  // namespace ckptfs::sim
