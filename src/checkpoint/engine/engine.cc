#include <ckptfs/engine.h>
#include <unistd.h>

#include <utility>

#include "checkpoint/engine/engine_runtime.h"

namespace ckptfs {

Engine::Engine(EngineOptions options) : options_(std::move(options)) {}

Engine::~Engine() {
  internal::EngineRuntime* const runtime = runtime_.load();
  // Those of a parent process have no threads here that could be joined.
  if (runtime != nullptr && runtime->pid() == getpid()) delete runtime;
}

internal::EngineRuntime& Engine::runtime() {
  // No mutex: one that another thread held at fork() would stay locked here.
  internal::EngineRuntime* known = runtime_.load(std::memory_order_acquire);
  if (known != nullptr && known->pid() == getpid()) return *known;
  auto own = std::make_unique<internal::EngineRuntime>(options_);
  while (known == nullptr || known->pid() != own->pid()) {
    if (runtime_.compare_exchange_weak(known, own.get())) return *own.release();
  }
  return *known;
}

}  // namespace ckptfs
