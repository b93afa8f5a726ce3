// KernelNotifications: tells the kernel to drop what it cached, from a thread
// of its own.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <thread>

#include "common/mutex.h"
#include "fuse/connection.h"

namespace ckptfs::fuse {

// The kernel waits in a notification for locks that the requests in flight
// hold (pages being read, the directory of a pending create). Answers need the
// work pool, so notifications must not occupy it: hence a thread of their own.
//
// Thread-safe. Before Start, notifications are dropped: nothing is cached yet.
class KernelNotifications {
 public:
  explicit KernelNotifications(std::shared_ptr<Connection> connection)
      : connection_(std::move(connection)) {}
  // Drops what is queued and joins; a notification that waits in the kernel
  // must have been freed before (by an answer or Connection::Disconnect).
  ~KernelNotifications();

  void Start();
  void InvalidateInode(std::uint64_t ino);
  void InvalidateEntry(std::uint64_t parent, std::string name);

 private:
  struct Notification {
    std::uint64_t ino;
    std::string name;  // empty: the inode itself
  };
  void Enqueue(Notification notification);
  void Run();
  void Send(const Notification& notification);

  const std::shared_ptr<Connection> connection_;
  Mutex mu_;
  CondVar cv_;
  std::deque<Notification> queue_ CKPTFS_GUARDED_BY(mu_);
  bool running_ CKPTFS_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace ckptfs::fuse
