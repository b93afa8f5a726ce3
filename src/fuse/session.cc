#include "fuse/session.h"

#include <fuse_lowlevel.h>
#include <signal.h>

#include <cerrno>
#include <optional>
#include <system_error>
#include <utility>

#include "common/log.h"
#include "fuse/connection.h"
#include "fuse/kernel_notifications.h"
#include "fuse/mount_device.h"
#include "fuse/mount_table.h"
#include "fuse/receive_loop.h"

namespace ckptfs::fuse {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Wakes a receive thread out of read(2). Ignored by default, so that one that
// comes too late does no harm.
constexpr int kWakeSignal = SIGURG;

void InstallWakeSignal() {
  struct sigaction action{};
  action.sa_handler = [](int) {};
  // No SA_RESTART: the read must return.
  sigaction(kWakeSignal, &action, nullptr);
}

// Receive threads take no signals but that one: the program's own are for its
// main thread.
void BlockOtherSignals() {
  sigset_t all;
  sigfillset(&all);
  sigdelset(&all, kWakeSignal);
  pthread_sigmask(SIG_SETMASK, &all, nullptr);
}

// Whatever fails behind mount(2) must leave no mount whose daemon is gone.
class MountUndo {
 public:
  explicit MountUndo(std::string mount_point) : path_(std::move(mount_point)) {}
  ~MountUndo() {
    if (path_.empty()) return;
    const Result<void> undone = UnmountFuse(path_, true);
    if (!undone.has_value()) LogError(undone.error().ToString());
  }
  MountUndo(const MountUndo&) = delete;
  MountUndo& operator=(const MountUndo&) = delete;
  void Keep() { path_.clear(); }

 private:
  std::string path_;
};

}  // namespace

Result<std::unique_ptr<Session>> Session::Create(SessionOptions options,
                                                 SlabPool& slabs,
                                                 Executor& work) {
  Result<std::string> mount_point = CheckMountPoint(options.mount_point);
  if (!mount_point.has_value()) return Fail(mount_point.error());
  options.mount_point = *std::move(mount_point);
  MountRequest request;
  request.mount_point = options.mount_point;
  request.source = options.source;
  request.read_only = options.read_only;
  request.allow_other = options.allow_other;
  Result<FileDescriptor> device = MountFuse(request);
  if (!device.has_value()) return Fail(device.error());
  MountUndo undo(options.mount_point);
  Result<std::optional<MountEntry>> mount = LookUpMount(options.mount_point);
  if (!mount.has_value()) return Fail(mount.error());
  if (!mount->has_value()) {
    return Fail(ErrorCode::kConflict,
                options.mount_point + " was unmounted at once");
  }
  Result<std::shared_ptr<Connection>> connection =
      Connection::Create(*std::move(device), work);
  if (!connection.has_value()) return Fail(connection.error());
  std::unique_ptr<Session> session(new Session(
      std::move(options), slabs, (**mount).device, *std::move(connection)));
  undo.Keep();
  return session;
}

Session::Session(SessionOptions options, SlabPool& slabs, std::string device,
                 std::shared_ptr<Connection> connection)
    : options_(std::move(options)),
      slabs_(slabs),
      connection_(std::move(connection)),
      notifications_(std::make_unique<KernelNotifications>(connection_)),
      device_(std::move(device)) {}

Session::~Session() {
  const Result<void> unmounted = Unmount(UnmountMode::kLazy);
  if (!unmounted.has_value()) LogError(unmounted.error().ToString());
  Stop();
  connection_->Disconnect();
}

void Session::Start(Dispatcher& dispatcher) {
  connection_->set_dispatcher(dispatcher);
  InstallWakeSignal();
  notifications_->Start();
  MutexLock lock(mu_);
  started_ = true;
  receiving_ = options_.receive_threads;
  for (int i = 0; i < options_.receive_threads; ++i) {
    threads_.emplace_back([this] { Receive(); });
  }
}

void Session::Receive() {
  pthread_setname_np(pthread_self(), "fuse-receive");
  BlockOtherSignals();
  {
    ReceiveLoop loop(*connection_, slabs_);
    bool ready = false;
    while (loop.ReceiveOne()) {
      // FUSE_INIT is the first request, and answered when ReceiveOne returns.
      if (!ready && connection_->initialized()) {
        ready = true;
        OnInitialized();
      }
    }
  }
  MutexLock lock(mu_);
  --receiving_;
  cv_.NotifyAll();
}

void Session::OnInitialized() {
  {
    MutexLock lock(mu_);
    if (ready_) return;
    ready_ = true;
  }
  // The kernel bounds read-ahead by what INIT agreed on, so this comes behind.
  if (!SetReadAhead(device_, options_.read_ahead_kib)) {
    LogInfo("reads use the kernel's default read-ahead: " +
            std::generic_category().message(errno) +
            " (only root may raise it)");
  }
  cv_.NotifyAll();
}

Result<void> Session::WaitForInit(milliseconds timeout) {
  const auto deadline = steady_clock::now() + timeout;
  MutexLock lock(mu_);
  bool in_time = true;
  while (in_time && !ready_ && !(started_ && receiving_ == 0)) {
    in_time = cv_.WaitUntil(mu_, deadline);
  }
  if (ready_) return {};
  if (started_ && receiving_ == 0) {
    return Fail(ErrorCode::kInternal, "the kernel ended the connection of " +
                                          options_.mount_point +
                                          " before it was set up");
  }
  return Fail(ErrorCode::kDeadlineExceeded,
              "the kernel did not set up " + options_.mount_point + " in time");
}

void Session::Wait() {
  MutexLock lock(mu_);
  while (receiving_ > 0) cv_.Wait(mu_);
}

Result<void> Session::Unmount(UnmountMode mode) {
  // By path, but only if it is still this mount, as far as can be seen.
  const Result<std::optional<MountEntry>> mount =
      LookUpMount(options_.mount_point);
  if (mount.has_value() &&
      (!mount->has_value() || (**mount).device != device_)) {
    return {};
  }
  return UnmountFuse(options_.mount_point, mode != UnmountMode::kIfUnused,
                     mode == UnmountMode::kForced);
}

void Session::Stop() {
  fuse_session_exit(connection_->session());
  MutexLock lock(mu_);
  // A signal that comes between the check and the read is lost: repeat.
  while (receiving_ > 0) {
    for (std::thread& t : threads_)
      pthread_kill(t.native_handle(), kWakeSignal);
    cv_.WaitUntil(mu_, steady_clock::now() + milliseconds(10));
  }
  std::vector<std::thread> threads = std::exchange(threads_, {});
  lock.Unlock();
  for (std::thread& t : threads) t.join();
}

void Session::InvalidateInode(fs::InodeNumber ino) {
  notifications_->InvalidateInode(static_cast<std::uint64_t>(ino));
}

void Session::InvalidateEntry(fs::InodeNumber parent, std::string name) {
  notifications_->InvalidateEntry(static_cast<std::uint64_t>(parent),
                                  std::move(name));
}

}  // namespace ckptfs::fuse
