// Connection: the libfuse session of one mount and what its requests need.
#pragma once

#include <ckptfs/executor.h>
#include <ckptfs/result.h>

#include <atomic>
#include <cstdint>
#include <memory>

#include "fuse/dispatcher.h"
#include "fuse/mount_device.h"

struct fuse_session;

namespace ckptfs::fuse {

// Shared by the Session and by every request that was not answered yet: libfuse
// writes an answer through its session, so the session must outlive the last
// one. Thread-safe.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  // Takes the device over. Starts nothing. kInternal if libfuse refuses.
  static Result<std::shared_ptr<Connection>> Create(FileDescriptor device,
                                                    Executor& work);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  fuse_session* session() const { return session_; }
  Executor& work() const { return work_; }

  // Set once, before the first request is read.
  void set_dispatcher(Dispatcher& dispatcher) { dispatcher_ = &dispatcher; }
  Dispatcher& dispatcher() const { return *dispatcher_; }

  // Set while FUSE_INIT is served; later requests only come behind it.
  void set_initialized() { initialized_.store(true); }
  bool initialized() const { return initialized_.load(); }

  // Lets go of the kernel's side: every program that waits for an answer gets
  // ENOTCONN, and answers that still come lead nowhere.
  void Disconnect();

 private:
  explicit Connection(Executor& work) : work_(work) {}

  Executor& work_;
  fuse_session* session_ = nullptr;  // owned
  Dispatcher* dispatcher_ = nullptr;
  std::atomic<bool> initialized_ = false;
};

}  // namespace ckptfs::fuse
