#include "fuse/kernel_notifications.h"

#include <fuse_lowlevel.h>

#include <cerrno>
#include <utility>

#include "common/log.h"

namespace ckptfs::fuse {

KernelNotifications::~KernelNotifications() {
  {
    MutexLock lock(mu_);
    running_ = false;
    queue_.clear();
  }
  cv_.NotifyAll();
  if (thread_.joinable()) thread_.join();
}

void KernelNotifications::Start() {
  MutexLock lock(mu_);
  running_ = true;
  thread_ = std::thread([this] { Run(); });
}

void KernelNotifications::InvalidateInode(std::uint64_t ino) {
  Enqueue({ino, {}});
}

void KernelNotifications::InvalidateEntry(std::uint64_t parent,
                                          std::string name) {
  Enqueue({parent, std::move(name)});
}

void KernelNotifications::Enqueue(Notification notification) {
  {
    MutexLock lock(mu_);
    if (!running_) return;
    queue_.push_back(std::move(notification));
  }
  cv_.NotifyOne();
}

void KernelNotifications::Run() {
  pthread_setname_np(pthread_self(), "fuse-notify");
  MutexLock lock(mu_);
  while (true) {
    while (running_ && queue_.empty()) cv_.Wait(mu_);
    if (!running_) return;
    const Notification next = std::move(queue_.front());
    queue_.pop_front();
    lock.Unlock();
    Send(next);
    lock.Lock();
  }
}

void KernelNotifications::Send(const Notification& n) {
  fuse_session* session = connection_->session();
  // Length 0: to the end of the file.
  const int result =
      n.name.empty() ? fuse_lowlevel_notify_inval_inode(session, n.ino, 0, 0)
                     : fuse_lowlevel_notify_inval_entry(
                           session, n.ino, n.name.data(), n.name.size());
  // ENOENT: the kernel has nothing cached. The others: the mount is gone.
  if (result != 0 && result != -ENOENT && result != -ENODEV &&
      result != -ENOTCONN && !fuse_session_exited(session)) {
    LogWarning("the kernel refused to drop cached " +
               (n.name.empty() ? "inode " + std::to_string(n.ino)
                               : "name \"" + n.name + "\"") +
               ": error " + std::to_string(-result));
  }
}

}  // namespace ckptfs::fuse
