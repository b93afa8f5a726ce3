// PartBuffers: memory that pieces of a file are copied into, again and again.
// The kernel takes longer to give fresh pages than a copy takes to fill them.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/mutex.h"

namespace ckptfs {

// Thread-safe. Holds as many as were once in use at the same time, until it and
// all of them are gone.
class PartBuffers {
 public:
  // One that nobody uses any more, with whatever it holds; else an empty one.
  // Comes back when its last owner is gone, on whichever thread that is.
  std::shared_ptr<std::string> Take() {
    std::unique_ptr<std::string> buffer;
    {
      const MutexLock lock(unused_->mu);
      if (!unused_->buffers.empty()) {
        buffer = std::move(unused_->buffers.back());
        unused_->buffers.pop_back();
      }
    }
    if (buffer == nullptr) buffer = std::make_unique<std::string>();
    return {buffer.release(), [unused = unused_](std::string* returned) {
              std::unique_ptr<std::string> owned(returned);
              const MutexLock lock(unused->mu);
              unused->buffers.push_back(std::move(owned));
            }};
  }

 private:
  struct Unused {
    Mutex mu;
    std::vector<std::unique_ptr<std::string>> buffers CKPTFS_GUARDED_BY(mu);
  };
  const std::shared_ptr<Unused> unused_ = std::make_shared<Unused>();
};

}  // namespace ckptfs
