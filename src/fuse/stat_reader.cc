#include "fuse/stat_reader.h"

#include <pthread.h>

#include <system_error>
#include <utility>

namespace ckptfs::fuse {

StatReader::~StatReader() {
  {
    std::lock_guard lock(mu_);
    stopping_ = true;
  }
  cv_.notify_all();
  if (thread_.joinable()) thread_.join();
}

std::optional<ProcStat> StatReader::Read(pid_t tgid,
                                         std::chrono::milliseconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  std::unique_lock lock(mu_);
  if (!cv_.wait_until(lock, deadline, [this] { return job_ == nullptr; })) {
    return {};
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
  cv_.notify_all();
  cv_.wait_until(lock, deadline, [&] { return job->done; });
  return job->stat;
}

void StatReader::Run() {
  std::unique_lock lock(mu_);
  while (true) {
    cv_.wait(lock, [this] { return stopping_ || job_ != nullptr; });
    if (job_ == nullptr) return;
    const std::shared_ptr<Job> job = job_;
    lock.unlock();
    const ProcText text = files_.Read(files_.Path(job->tgid, "stat"));
    std::optional<ProcStat> stat;
    if (text.has_value()) stat = ParseProcStat(*text);
    lock.lock();
    job->stat = stat;
    job->done = true;
    job_ = nullptr;
    cv_.notify_all();
  }
}

}  // namespace ckptfs::fuse
