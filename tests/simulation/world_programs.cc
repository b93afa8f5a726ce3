// What the programs of a random world do.
#include <fcntl.h>

#include <utility>

#include "simulation/world.h"

namespace ckptfs::sim {

std::string World::AnyPath() { return plan.paths[Pick(plan.paths.size())]; }

std::uint64_t World::AnySize() {
  if (plan.large_files && Pick(3) == 0) return (5u << 20) + Pick(8u << 20);
  switch (Pick(6)) {
    case 0: return Pick(30);
    case 1: return (256u << 10) + Pick(100'000);
    case 2: return 4096 * Pick(5);
    default: return Pick(20'000);
  }
}

int World::OpenFlags() {
  int flags = 0;
  switch (Pick(5)) {
    case 0: flags = O_RDONLY; break;
    case 1:
    case 2: flags = O_RDWR; break;
    default: flags = O_WRONLY; break;
  }
  if (flags != O_RDONLY) {
    if (Pick(3) != 0) flags |= O_CREAT;
    if (Pick(3) == 0) flags |= O_TRUNC;
    if (Pick(6) == 0) flags |= O_APPEND;
    if ((flags & O_CREAT) != 0 && Pick(6) == 0) flags |= O_EXCL;
  }
  return flags;
}

Task<void> World::RunBusy(World* world, Thread* t, Task<void> task) {
  co_await std::move(task);
  t->busy = false;
  // A signal or exit() of another thread ends this one after its call.
  if (t->group->ending && !t->ended) {
    world->SpawnProgram(t, world->KernelOf(t).Exit(t));
  }
}

void World::SpawnProgram(Thread* t, Task<void> task) {
  t->busy = true;
  Spawn(programs_, RunBusy(this, t, std::move(task)));
}

void World::StartAction() {
  std::vector<Thread*> idle;
  for (const auto& group : processes.groups) {
    for (const auto& thread : group->threads) {
      if (!thread->busy && !thread->ended) idle.push_back(thread.get());
    }
  }
  for (auto& mount : mounts_) {
    mount->clock.Advance(std::chrono::milliseconds(Pick(2) * Pick(400)));
  }
  if (idle.empty()) {
    if (processes.groups.size() < 12) {
      processes.NewGroup().mount = static_cast<int>(Pick(kernels_.size()));
    }
    return;
  }
  Thread* t = idle[Pick(idle.size())];
  SpawnProgram(t, Act(t));
}

// As trainers save.
Task<void> World::Save(Thread* t) {
  SimKernel& kernel = KernelOf(t);
  const std::string path = AnyPath();
  int flags = (Pick(3) == 0 ? O_RDWR : O_WRONLY) | O_CREAT;
  if (Pick(4) != 0) flags |= O_TRUNC;
  Result<int> fd = co_await kernel.Open(t, path, flags);
  if (!fd) co_return;
  const int writes = 1 + static_cast<int>(Pick(3));
  std::uint64_t at = 0;
  for (int i = 0; i < writes && !t->group->ending; ++i) {
    const std::uint64_t size = AnySize();
    Result<void> written = co_await kernel.Write(t, *fd, at, size);
    (void)written;
    at += size;
  }
  if (t->group->ending) co_return;
  const std::uint64_t how = Pick(5);
  if (how == 0) {
    Result<void> synced = co_await kernel.Fsync(t, *fd);
    (void)synced;
  }
  if (how == 1) {
    Result<void> renamed = co_await kernel.Rename(t, path, AnyPath(), 0);
    (void)renamed;
  }
  if (how == 2 || t->group->ending) co_return;  // left open
  Result<void> closed = co_await kernel.Close(t, *fd);
  (void)closed;
  if (how == 3 && !t->group->ending) {
    Result<void> renamed =
        co_await kernel.Rename(t, path, AnyPath(), Pick(5) == 0 ? 1u : 0u);
    (void)renamed;
  }
}

Task<void> World::ActOnDescriptor(Thread* t, int fd) {
  SimKernel& kernel = KernelOf(t);
  const std::shared_ptr<Description> file = t->group->table[fd].file;
  const std::uint64_t size = file->dead ? 0 : file->file->now().size();
  const auto offset = [&]() -> std::uint64_t {
    switch (Pick(5)) {
      case 0: return 0;
      case 1: return Pick(size + 1);
      case 2: return size + Pick(10'000);
      default: return size;
    }
  };
  switch (Pick(16)) {
    case 0:
    case 1:
    case 2:
    case 3: {
      const std::uint64_t at = offset();
      const std::uint64_t n = 1 + AnySize();
      Result<void> r = co_await kernel.Write(t, fd, at, n);
      (void)r;
      break;
    }
    case 4:
    case 5:
    case 6: {
      Result<void> r = co_await kernel.Close(t, fd);
      (void)r;
      break;
    }
    case 7:
    case 8: {
      const std::uint64_t at = Pick(size + 10);
      Result<void> r = co_await kernel.Read(t, fd, at, 1 + Pick(1u << 20));
      (void)r;
      break;
    }
    case 9: {
      Result<void> r = co_await kernel.Fsync(t, fd);
      (void)r;
      break;
    }
    case 10: {
      const std::uint64_t to = Pick(3) == 0 ? 0 : Pick(size + 5000);
      Result<void> r = co_await kernel.Ftruncate(t, fd, to);
      (void)r;
      break;
    }
    case 11: {
      const Result<int> r = kernel.Dup(t, fd);
      (void)r;
      break;
    }
    case 12: {
      // To another process, in a message.
      std::vector<Group*> others;
      for (const auto& g : processes.groups) {
        if (!g->ending && !g->ended() && g.get() != t->group &&
            &KernelOf(t) == &KernelOf(g->threads.front().get())) {
          others.push_back(g.get());
        }
      }
      if (others.empty() || file->dead) break;
      Group& other = *others[Pick(others.size())];
      model.Trace("a descriptor of " + file->file->key + " goes to g" +
                  std::to_string(other.serial));
      kernel.Install(other, file, false);
      break;
    }
    default: {
      if (!plan.mappings) break;
      auto& mappings = t->group->mappings;
      if (mappings.empty()) {
        const Result<void> r = kernel.Mmap(t, fd);
        (void)r;
        break;
      }
      const std::size_t i = Pick(mappings.size());
      if (Pick(4) != 0) {
        const Result<void> r = kernel.DirtyPage(*mappings[i]);
        (void)r;
      } else {
        Result<void> r = co_await kernel.Munmap(t, i);
        (void)r;
      }
    }
  }
}

Task<void> World::Act(Thread* t) {
  SimKernel& kernel = KernelOf(t);
  Group& g = *t->group;
  const std::uint64_t what = Pick(100);
  if (what < 45 && !g.table.empty()) {
    auto it = g.table.begin();
    std::advance(it, Pick(g.table.size()));
    co_await ActOnDescriptor(t, it->first);
  } else if (what < 55) {
    co_await Save(t);
  } else if (what < 72) {
    Result<int> r = co_await kernel.Open(t, AnyPath(), OpenFlags());
    (void)r;
  } else if (what < 77) {
    const std::string from = AnyPath();
    const std::string to = AnyPath();
    Result<void> r =
        co_await kernel.Rename(t, from, to, Pick(6) == 0 ? 1u : 0u);
    (void)r;
  } else if (what < 80) {
    Result<void> r = co_await kernel.Unlink(t, AnyPath());
    (void)r;
  } else if (what < 83) {
    const std::uint64_t size = Pick(3) == 0 ? 0 : Pick(20'000);
    Result<void> r = co_await kernel.Truncate(t, AnyPath(), size);
    (void)r;
  } else if (what < 86) {
    const mode_t mode = Pick(2) == 0 ? 0 : 0600 + static_cast<mode_t>(Pick(8));
    Result<void> r = co_await kernel.Chmod(t, AnyPath(), mode);
    (void)r;
  } else if (what < 88) {
    Result<void> r = co_await kernel.Stat(t, AnyPath());
    (void)r;
  } else if (what < 89) {
    Result<void> r = co_await kernel.Mkdir(t, "d");
    (void)r;
  } else if (what < 90) {
    Result<void> r = co_await kernel.Rmdir(t, "d");
    (void)r;
  } else if (what < 92) {
    Thread& made = processes.AddThread(g);
    model.Trace("thread " + std::to_string(made.tid) + " of g" +
                std::to_string(g.serial) + " begins");
  } else if (what < 95) {
    // A child goes on with the same mount as its parent.
    Group& child = processes.NewGroup();
    child.mount = g.mount;
    child.foreign = g.foreign;
    child.hidden = g.hidden;
    kernel.CopyTable(g, child);
    model.Trace("g" + std::to_string(g.serial) + " forks g" +
                std::to_string(child.serial) + " t" +
                std::to_string(child.tgid));
  } else if (what < 96) {
    if (g.living_threads() == 1) co_await kernel.CloseOnExec(t);
  } else if (what < 98) {
    g.ending = g.living_threads() == 1 || Pick(2) == 0;
    for (const auto& other : g.threads) {
      if (g.ending && !other->busy && !other->ended) {
        SpawnProgram(other.get(), kernel.Exit(other.get()));
      }
    }
    if (!g.ending) co_await kernel.Exit(t);
  } else {
    std::vector<Group*> living;
    for (const auto& other : processes.groups) {
      if (!other->ended() && !other->ending) living.push_back(other.get());
    }
    if (living.empty()) co_return;
    Group& victim = *living[Pick(living.size())];
    model.Trace("g" + std::to_string(victim.serial) + " is killed");
    victim.dying = victim.ending = true;
    for (const auto& other : victim.threads) {
      if (!other->busy && !other->ended) {
        Thread* const thread = other.get();
        SpawnProgram(thread, KernelOf(thread).Exit(thread));
      }
    }
  }
}

void World::OtherClient() {
  const std::string key = AnyPath();
  if (Pick(3) == 0) {
    (void)bucket.Delete({.key = key, .options = {}}).Get();
    model.ForeignDelete(key);
    model.Trace("another client deletes " + key);
  } else {
    PutForeign(key, AnySize());
  }
}

}  // namespace ckptfs::sim
