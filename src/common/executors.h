// The two executors of the running program: a strand (one thread, in order)
// and a pool for work that costs more than microseconds.
#pragma once

#include <ckptfs/executor.h>

#include <deque>
#include <string>
#include <thread>
#include <vector>

#include "common/mutex.h"

namespace ckptfs {

// Runs posted functions on its own threads, first come first served; with one
// thread it is a strand. Thread-safe. The destructor runs what is queued, then
// joins: everything that posts here must have stopped by then. The constructor
// throws std::system_error where a thread cannot be had.
class ThreadPool final : public Executor {
 public:
  // `name` (<= 12 characters) shows in top and gdb.
  ThreadPool(std::string name, int threads);
  ~ThreadPool() override;

  void Post(UniqueFunction<void()> fn) override;

 private:
  void Run();
  void Stop();

  Mutex mu_;
  CondVar cv_;
  std::deque<UniqueFunction<void()>> queue_ CKPTFS_GUARDED_BY(mu_);
  bool stopping_ CKPTFS_GUARDED_BY(mu_) = false;
  std::vector<std::thread> threads_;  // constant after construction
};

}  // namespace ckptfs
