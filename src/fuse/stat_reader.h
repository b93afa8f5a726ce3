// StatReader: the stat file of a process that may be in the middle of an
// execve, read without waiting for it.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

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
  std::mutex mu_;  // leaf
  std::condition_variable cv_;
  // Guarded by mu_.
  std::shared_ptr<Job> job_;  // set: the thread is at it
  bool stopping_ = false;
  std::thread thread_;  // started by the first Read
};

}  // namespace ckptfs::fuse
