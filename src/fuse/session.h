// Session: one mount, from mount(2) to the end of its connection to the kernel.
#pragma once

#include <ckptfs/executor.h>
#include <ckptfs/result.h>

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "common/mutex.h"
#include "common/slab_pool.h"
#include "fs/kernel_notifier.h"
#include "fuse/dispatcher.h"

namespace ckptfs::fuse {

class Connection;
class KernelNotifications;

struct SessionOptions {
  std::string mount_point = {};
  std::string source = "ckptfs";  // "s3://bucket/prefix"; shown in /proc/mounts
  bool read_only = false;
  bool allow_other = false;
  // Threads that take requests from the kernel and hand them on. They copy what
  // programs write, so one per two cores that should write is enough.
  int receive_threads = 2;
  // How far the kernel reads ahead. Only root may raise it above its 128 KiB.
  unsigned read_ahead_kib = 4096;
};

enum class UnmountMode {
  kIfUnused,  // kConflict while programs use the mount
  kLazy,      // the name goes now, the mount when nobody uses it any more
  kForced,    // the same, and every unanswered request fails now
};

// Order of use: Create, Start, WaitForInit, ..., Wait or Stop, destruction. The
// Dispatcher and whatever it leads to may be destroyed between Stop and the
// destruction of the Session; requests it still holds are answered then.
//
// Thread-safe but for construction, Start and destruction. As KernelNotifier it
// may be used at any time after Create.
class Session final : public fs::KernelNotifier {
 public:
  // Mounts. Starts no thread, so that the caller may still fork; requests queue
  // in the kernel until Start. `slabs` and `work` outlive the Session and every
  // unanswered request. Errors: kUnsupported (no /dev/fuse), kNotFound,
  // kNotDirectory, kConflict (already mounted, or a dead mount),
  // kPermissionDenied; each message says what to do.
  static Result<std::unique_ptr<Session>> Create(SessionOptions options,
                                                 SlabPool& slabs,
                                                 Executor& work);
  // Unmounts (lazily) if that has not happened, stops, and frees whoever still
  // waits for an answer with ENOTCONN.
  ~Session() override;

  // Starts the receive threads. Once. Throws std::system_error where a thread
  // cannot be had.
  void Start(Dispatcher& dispatcher);
  // Until the kernel has agreed on the protocol: then the mount works.
  // kDeadlineExceeded, or kInternal if the connection ended instead.
  Result<void> WaitForInit(std::chrono::milliseconds timeout);
  // Blocks until the connection has ended (everybody has left the unmounted
  // file system, or it was aborted) or Stop was called.
  // The kernel does not wait for the RELEASE of the last files: whoever counts
  // open handles must take them all as released now. (FLUSH it does wait for.)
  void Wait();
  // "major:minor" of the mount.
  const std::string& device() const { return device_; }
  // Success if nothing is mounted any more.
  Result<void> Unmount(UnmountMode mode);
  // Ends receiving; when it returns, no Dispatcher method runs or is called
  // again. Idempotent.
  void Stop();

  // The absolute path.
  const std::string& mount_point() const { return options_.mount_point; }

  void InvalidateInode(fs::InodeNumber ino) override;
  void InvalidateEntry(fs::InodeNumber parent, std::string name) override;

 private:
  Session(SessionOptions options, SlabPool& slabs, std::string device,
          std::shared_ptr<Connection> connection);
  void Receive();
  void OnInitialized();

  const SessionOptions options_;
  SlabPool& slabs_;
  const std::shared_ptr<Connection> connection_;
  const std::unique_ptr<KernelNotifications> notifications_;
  const std::string device_;  // "major:minor" of the mount

  Mutex mu_;
  CondVar cv_;
  bool ready_ CKPTFS_GUARDED_BY(mu_) = false;
  // Threads still in Receive.
  int receiving_ CKPTFS_GUARDED_BY(mu_) = 0;
  bool started_ CKPTFS_GUARDED_BY(mu_) = false;
  std::vector<std::thread> threads_ CKPTFS_GUARDED_BY(mu_);
};

}  // namespace ckptfs::fuse
