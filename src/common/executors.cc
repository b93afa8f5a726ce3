#include "common/executors.h"

#include <pthread.h>

#include <utility>

namespace ckptfs {

ThreadPool::ThreadPool(std::string name, int threads) {
  threads_.reserve(threads);
  for (int i = 0; i < threads; ++i) {
    try {
      threads_.emplace_back([this] { Run(); });
    } catch (...) {
      // The destructor of an object that was never whole does not run, and
      // that of a running thread ends the program.
      Stop();
      throw;
    }
    // 15 characters is the kernel's limit (prctl(2), PR_SET_NAME).
    std::string thread_name = name + "-" + std::to_string(i);
    thread_name.resize(std::min<std::size_t>(thread_name.size(), 15));
    pthread_setname_np(threads_.back().native_handle(), thread_name.c_str());
  }
}

ThreadPool::~ThreadPool() { Stop(); }

void ThreadPool::Stop() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
  }
  cv_.NotifyAll();
  for (std::thread& t : threads_) t.join();
}

void ThreadPool::Post(UniqueFunction<void()> fn) {
  {
    MutexLock lock(mu_);
    queue_.push_back(std::move(fn));
  }
  cv_.NotifyOne();
}

void ThreadPool::Run() {
  MutexLock lock(mu_);
  while (true) {
    while (!stopping_ && queue_.empty()) cv_.Wait(mu_);
    if (queue_.empty()) return;
    UniqueFunction<void()> fn = std::move(queue_.front());
    queue_.pop_front();
    lock.Unlock();
    fn();
    fn = nullptr;  // its captures must die outside the lock
    lock.Lock();
  }
}

}  // namespace ckptfs
