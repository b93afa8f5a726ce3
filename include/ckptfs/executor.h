// Executor: where continuations run. Everything asynchronous in the project
// names the executor on which its result is delivered; nothing runs inline on
// the thread that happened to finish the work.
#pragma once

#include <ckptfs/export.h>
#include <ckptfs/unique_function.h>

namespace ckptfs {

// Implementations are thread-safe. Post never runs `fn` before it returns and
// never blocks. An executor outlives what is posted to it.
class CKPTFS_EXPORT Executor {
 public:
  virtual ~Executor() = default;
  virtual void Post(UniqueFunction<void()> fn) = 0;
};

}  // namespace ckptfs
