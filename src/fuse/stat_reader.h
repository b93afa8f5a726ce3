// StatReader: the stat file of a process that may be in the middle of an
// execve, read without waiting for it.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <memory>
#include <optional>
#include <thread>

#include "common/mutex.h"
#include "fuse/proc_files.h"
#include "fuse/proc_stat.h"

namespace ckptfs::fuse {

// Where the kernel makes the reader of a stat file wait for an execve, and that
// execve waits for our answer to a FLUSH, a work thread that reads would wait
// for itself. So a thread of this class reads, and whoever asks stops waiting
// after a while; the thread is free again when the execve goes on.
//
// Thread-safe. `files` outlives it. The destructor waits for a read that is
// under way.
class StatReader {
 public:
  explicit StatReader(const ProcFiles& files) : files_(files) {}
  ~StatReader();
  StatReader(const StatReader&) = delete;
  StatReader& operator=(const StatReader&) = delete;

  // nullopt: it could not be read, or not within `limit`.
  std::optional<ProcStat> Read(pid_t tgid, std::chrono::milliseconds limit);

 private:
  struct Job {
    pid_t tgid = 0;
    bool done = false;
    std::optional<ProcStat> stat;
  };
  void Run();

  const ProcFiles& files_;
  Mutex mu_;
  CondVar cv_;
  // Set: the thread is at it. What it points to is guarded too.
  std::shared_ptr<Job> job_ CKPTFS_GUARDED_BY(mu_);
  bool stopping_ CKPTFS_GUARDED_BY(mu_) = false;
  // Started by the first Read.
  std::thread thread_ CKPTFS_GUARDED_BY(mu_);
};

}  // namespace ckptfs::fuse
