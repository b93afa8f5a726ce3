#include "fuse/stat_reader.h"

#include <pthread.h>

#include <system_error>
#include <utility>

namespace ckptfs::fuse {

StatReader::~StatReader() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
  }
  cv_.NotifyAll();
  if (thread_.joinable()) thread_.join();
}

std::optional<ProcStat> StatReader::Read(pid_t tgid,
                                         std::chrono::milliseconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  MutexLock lock(mu_);
  while (job_ != nullptr) {
    if (!cv_.WaitUntil(mu_, deadline) && job_ != nullptr) return {};
  }
  if (!thread_.joinable()) {
    try {
      thread_ = std::thread([this] { Run(); });
    } catch (const std::system_error&) {
      return {};
    }
    pthread_setname_np(thread_.native_handle(), "proc-stat");
  }
  auto job = std::make_shared<Job>();
  job->tgid = tgid;
  job_ = job;
  cv_.NotifyAll();
  while (!job->done && cv_.WaitUntil(mu_, deadline)) {
  }
  return job->stat;
}

void StatReader::Run() {
  MutexLock lock(mu_);
  while (true) {
    while (!stopping_ && job_ == nullptr) cv_.Wait(mu_);
    if (job_ == nullptr) return;
    const std::shared_ptr<Job> job = job_;
    lock.Unlock();
    const ProcText text = files_.Read(files_.Path(job->tgid, "stat"));
    std::optional<ProcStat> stat;
    if (text.has_value()) stat = ParseProcStat(*text);
    lock.Lock();
    job->stat = stat;
    job->done = true;
    job_ = nullptr;
    cv_.NotifyAll();
  }
}

}  // namespace ckptfs::fuse
