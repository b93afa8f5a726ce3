#include "common/slab_pool.h"

#include <sys/mman.h>

#include <new>
#include <utility>

#include "common/mutex.h"

namespace ckptfs {

Slab::~Slab() { munmap(data_, size_); }

struct SlabPool::Shared {
  explicit Shared(std::size_t max) : max_idle(max) {}
  const std::size_t max_idle;
  Mutex mu;
  std::vector<std::unique_ptr<Slab>> idle CKPTFS_GUARDED_BY(mu);
  std::size_t outstanding CKPTFS_GUARDED_BY(mu) = 0;
};

SlabPool::SlabPool(std::size_t max_idle)
    : shared_(std::make_shared<Shared>(max_idle)) {}

SlabPool::~SlabPool() = default;

std::shared_ptr<Slab> SlabPool::Acquire() {
  std::unique_ptr<Slab> slab;
  {
    MutexLock lock(shared_->mu);
    ++shared_->outstanding;
    if (!shared_->idle.empty()) {
      slab = std::move(shared_->idle.back());
      shared_->idle.pop_back();
    }
  }
  if (slab == nullptr) {
    void* memory = mmap(nullptr, kSlabBytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    slab = std::make_unique<Slab>(static_cast<std::byte*>(memory), kSlabBytes);
  }
  return std::shared_ptr<Slab>(slab.release(),
                               [shared = shared_](Slab* returned) {
                                 std::unique_ptr<Slab> owned(returned);
                                 MutexLock lock(shared->mu);
                                 --shared->outstanding;
                                 if (shared->idle.size() < shared->max_idle) {
                                   shared->idle.push_back(std::move(owned));
                                 }
                               });
}

std::size_t SlabPool::outstanding() const {
  MutexLock lock(shared_->mu);
  return shared_->outstanding;
}

}  // namespace ckptfs
