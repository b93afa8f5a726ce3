// Context: what every part of fs works with; made once per mount.
#pragma once

#include "common/clock.h"
#include "common/memory_budget.h"
#include "common/slab_pool.h"
#include "fs/file_system.h"
#include "fs/strand_sync.h"
#include "fs/write/write_memory.h"

namespace ckptfs::fs {

// Strand only, but for what is thread-safe by itself.
struct Context {
  Context(const FileSystemParts& p, FileSystemOptions o)
      : store(*p.store),
        strand(*p.strand),
        clock(*p.clock),
        budget(*p.budget),
        slabs(*p.slabs),
        oracle(*p.oracle),
        notifier(*p.notifier),
        options(std::move(o)),
        write_memory(*p.budget) {}

  ObjectStore& store;
  Executor& strand;
  Clock& clock;
  MemoryBudget& budget;
  SlabPool& slabs;
  ProcessOracle& oracle;
  KernelNotifier& notifier;
  const FileSystemOptions options;
  WriteMemory write_memory;

  std::uint64_t lost_files = 0;
  // Tasks nobody waits for (aborts, clean-up); the drain waits for zero.
  int background_tasks = 0;
  StrandEvent background_ended;
};

// The two requests that need nothing but a key. (Braced temporaries must not
// stand inside a co_await expression: g++ 12 copies them bit by bit into the
// frame, GCC bug 98401.)
inline Future<ObjectInfo> HeadObject(ObjectStore& store, std::string key) {
  HeadRequest request;
  request.key = std::move(key);
  return store.Head(std::move(request));
}
inline Future<void> DeleteObject(ObjectStore& store, std::string key) {
  DeleteRequest request;
  request.key = std::move(key);
  return store.Delete(std::move(request));
}

// Runs `task` without anybody waiting but the drain.
inline Task<void> CountBackground(Context& context, Task<void> task) {
  ++context.background_tasks;
  co_await std::move(task);
  --context.background_tasks;
  context.background_ended.NotifyAll();
}
inline void RunInBackground(Context& context, Task<void> task) {
  Spawn(context.strand, CountBackground(context, std::move(task)));
}

}  // namespace ckptfs::fs
