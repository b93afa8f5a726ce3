#include "cli/mount_daemon.h"

#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <exception>
#include <random>
#include <thread>
#include <utility>

#include "cli/store_check.h"
#include "common/log.h"

namespace ckptfs::cli {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr seconds kInitTimeout{10};
constexpr seconds kListenWait{5};
// The drain's own deadline ends the wait; this is for a drain that hangs.
constexpr seconds kDrainGrace{30};
constexpr seconds kFirstProgress{1};
constexpr seconds kProgressInterval{5};
constexpr int kWorkThreads = 2;
// Milliseconds between looks at what no descriptor tells.
constexpr int kDrainPoll = 200;
constexpr int kExhaustedPoll = 1000;
// Memory that one file may hold while it is written, as far as the limit
// allows.
constexpr std::uint64_t kStreamWindow = 192ull << 20;

SteadyTime Now() { return std::chrono::steady_clock::now(); }

std::string SourceOf(const BucketUri& uri) {
  std::string source = "s3://" + uri.bucket + "/" + uri.prefix;
  source.pop_back();  // one slash: of the bucket or of the prefix
  return source;
}

// "a, b, c and 4 more"
std::string NameSome(const std::vector<std::string>& files) {
  constexpr std::size_t kShown = 3;
  std::string out;
  for (std::size_t i = 0; i < std::min(files.size(), kShown); ++i) {
    if (i > 0) out += ", ";
    out += files[i];
  }
  if (files.size() > kShown) {
    out += " and " + std::to_string(files.size() - kShown) + " more";
  }
  return out;
}

std::string Count(std::size_t n) {
  return std::to_string(n) + (n == 1 ? " file" : " files");
}

// Of the standard library, where it has no other way to fail: no thread, no
// memory, no random numbers.
std::string Unexpected(const std::string& what, const std::exception& e) {
  return what + e.what() +
         "; look at the limits of memory, processes and open files (ulimit -a, "
         "the cgroup's)";
}

}  // namespace

// Shared with threads that may outlive the main thread's interest.
struct MountDaemon::Events {
  fuse::FileDescriptor wake;  // an eventfd, made before any thread uses it
  std::atomic<bool> session_ended{false};
  std::atomic<bool> drained{false};
  Result<fs::DrainReport> report;  // written before `drained`

  void Wake() {
    const std::uint64_t one = 1;
    // It fails only when the counter is full, and then it is readable.
    const ssize_t n = ::write(wake.get(), &one, sizeof one);
    static_cast<void>(n);
  }
};

sigset_t StopSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGHUP);
  return set;
}

tl::expected<MountDaemon*, StartFailure> MountDaemon::Start(
    const MountOptions& options) {
  const std::string what = "cannot mount " + SourceOf(options.source) + ": ";
  try {
    return TryToStart(options, what);
  } catch (const std::exception& e) {
    // Before anything is mounted.
    return tl::unexpected<StartFailure>(
        StartFailure{ExitCode::kOther, Unexpected(what, e)});
  }
}

tl::expected<MountDaemon*, StartFailure> MountDaemon::TryToStart(
    const MountOptions& options, const std::string& what) {
  S3StoreOptions store_options;
  store_options.bucket = options.source.bucket;
  store_options.region = options.region;
  store_options.profile = options.profile;
  store_options.endpoint_url = options.endpoint_url;
  store_options.ca_file = options.ca_file;
  // One event loop moves 8 Gbit/s and more; a second one on a small machine
  // only adds wake-ups.
  store_options.http_threads = static_cast<int>(
      std::clamp(std::thread::hardware_concurrency() / 2, 1u, 4u));
  if (options.force_path_style) store_options.force_path_style = true;
  const auto failed = [&](const Error& error) {
    return tl::unexpected<StartFailure>(
        StartFailure{ExitCodeForStoreError(error), what + error.ToString()});
  };
  Result<std::unique_ptr<ObjectStore>> store = OpenS3Store(store_options);
  if (!store.has_value() &&
      store.error().code() == ErrorCode::kResourceExhausted) {
    // Of this machine: no store was asked yet.
    return tl::unexpected<StartFailure>(
        StartFailure{ExitCode::kOther, what + store.error().ToString()});
  }
  if (!store.has_value()) return failed(store.error());
  Result<std::string> endpoint_url = S3EndpointUrl(store_options);
  if (!endpoint_url.has_value()) return failed(endpoint_url.error());
  const Result<void> checked = CheckStore(**store, options.source.prefix);
  if (!checked.has_value()) return failed(checked.error());

  auto* const daemon =
      new MountDaemon(options, *std::move(store), *std::move(endpoint_url));
  std::optional<StartFailure> failure;
  try {
    failure = daemon->Mount();
  } catch (const std::exception& e) {
    failure = StartFailure{ExitCode::kOther, Unexpected(what, e)};
  }
  if (!failure.has_value()) return daemon;
  daemon->RemoveMount();
  return tl::unexpected<StartFailure>(*std::move(failure));
}

void MountDaemon::RemoveMount() {
  if (session_ == nullptr) return;
  const Result<void> undone = session_->Unmount(fuse::UnmountMode::kForced);
  if (!undone.has_value()) LogError(undone.error().ToString());
}

MountDaemon::MountDaemon(const MountOptions& options,
                         std::unique_ptr<ObjectStore> store,
                         std::string endpoint_url)
    : options_(options),
      source_(SourceOf(options.source)),
      memory_limit_(options.memory_limit_bytes != 0 ? options.memory_limit_bytes
                                                    : DefaultMemoryLimit()),
      endpoint_url_(std::move(endpoint_url)),
      store_(std::move(store)),
      strand_("fs", 1),
      work_("work", kWorkThreads),
      budget_(memory_limit_),
      slabs_(static_cast<std::size_t>(std::min(memory_limit_, kStreamWindow) /
                                      SlabPool::kSlabBytes)),
      oracle_(work_),
      events_(std::make_shared<Events>()) {}

fs::FileSystemOptions MountDaemon::FsOptions() const {
  fs::FileSystemOptions o;
  // 2^31 ranges of 2^32 numbers, above those of other file systems.
  std::random_device random;
  o.first_inode =
      (std::uint64_t{1} << 62) | (std::uint64_t{random() & 0x3fffffffu} << 32);
  o.bucket = options_.source.bucket;
  o.prefix = options_.source.prefix;
  o.endpoint_url = endpoint_url_;
  o.read_only = options_.read_only;
  o.invisible_writers = options_.invisible_writers;
  o.uid = options_.uid.value_or(::getuid());
  o.gid = options_.gid.value_or(::getgid());
  o.part_bytes = options_.part_bytes;
  // A part of the user's size must fit, and a second one beside it.
  o.stream_window_bytes =
      std::min(std::max(kStreamWindow, 2 * options_.part_bytes), memory_limit_);
  return o;
}

std::optional<StartFailure> MountDaemon::Mount() {
  const auto failed = [](const std::string& line) {
    return StartFailure{ExitCode::kMountPoint, line};
  };
  const sigset_t stop_signals = StopSignals();
  signals_ = fuse::FileDescriptor(
      ::signalfd(-1, &stop_signals, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_.valid()) {
    return StartFailure{
        ExitCode::kOther,
        "cannot make a signalfd: " + std::generic_category().message(errno)};
  }
  events_->wake =
      fuse::FileDescriptor(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!events_->wake.valid()) {
    return StartFailure{
        ExitCode::kOther,
        "cannot make an eventfd: " + std::generic_category().message(errno)};
  }
  fuse::SessionOptions session;
  session.mount_point = options_.mount_point;
  session.source = source_;
  session.read_only = options_.read_only;
  session.allow_other = options_.allow_other;
  Result<std::unique_ptr<fuse::Session>> created =
      fuse::Session::Create(std::move(session), slabs_, work_);
  if (!created.has_value()) return failed(created.error().message());
  session_ = *std::move(created);

  Result<ControlServer> control =
      ControlServer::Listen(session_->device(), kListenWait);
  if (!control.has_value()) return failed(control.error().message());
  control_ = *std::move(control);

  fs::FileSystemParts parts;
  parts.store = store_.get();
  parts.strand = &strand_;
  parts.work = &work_;
  parts.clock = &clock_;
  parts.budget = &budget_;
  parts.slabs = &slabs_;
  parts.oracle = &oracle_;
  parts.notifier = session_.get();
  file_system_ = std::make_unique<fs::FileSystem>(parts, FsOptions());
  dispatcher_ =
      std::make_unique<fuse::FileSystemDispatcher>(*file_system_, strand_);
  session_->Start(*dispatcher_);
  const Result<void> ready = session_->WaitForInit(kInitTimeout);
  if (!ready.has_value()) return failed(ready.error().message());
  // Now, while a failure still leaves no mount.
  std::thread([session = session_.get(), events = events_] {
    session->Wait();
    events->session_ended = true;
    events->Wake();
  }).detach();
  return std::nullopt;
}

ExitCode MountDaemon::Serve(bool wanted) {
  try {
    return ServeUntilTheEnd(wanted);
  } catch (const std::exception& e) {
    LogError(std::string("the mount ends, and files that are being written "
                         "are lost: ") +
             e.what());
    RemoveMount();
    return ExitCode::kLostFiles;
  }
}

ExitCode MountDaemon::ServeUntilTheEnd(bool wanted) {
  LogInfo("mounted " + source_ + " on " + session_->mount_point() +
          (options_.read_only ? ", read-only" : "") + ", memory limit " +
          std::to_string(memory_limit_ >> 20) + " MiB");
  if (!wanted) BeginDrain("the mount command was interrupted");

  for (;;) {
    // poll passes over a descriptor of -1.
    pollfd fds[] = {{signals_.get(), POLLIN, 0},
                    {control_->exhausted() ? -1 : control_->fd(), POLLIN, 0},
                    {events_->wake.get(), POLLIN, 0}};
    const int timeout_ms = draining_               ? kDrainPoll
                           : control_->exhausted() ? kExhaustedPoll
                                                   : -1;
    if (::poll(fds, std::size(fds), timeout_ms) < 0 && errno != EINTR) {
      LogError("poll: " + std::generic_category().message(errno));
      BeginDrain("poll failed");
      std::this_thread::sleep_for(milliseconds(kDrainPoll));
    }
    TakeSignal();
    if (control_->Accept()) BeginDrain("ckptfs umount");
    std::uint64_t count = 0;
    while (::read(events_->wake.get(), &count, sizeof count) > 0) {
    }
    if (events_->session_ended) {
      control_->StopListening();
      BeginDrain("the mount was removed");
    }
    if (!draining_) continue;
    if (events_->drained) return Finish();
    if (Now() > drain_deadline_ + kDrainGrace) {
      Say(LogLevel::kError, "the drain did not end; files may be lost");
      return Finish();
    }
    Progress();
  }
}

void MountDaemon::TakeSignal() {
  signalfd_siginfo info{};
  while (::read(signals_.get(), &info, sizeof info) == sizeof info) {
    const auto number = static_cast<int>(info.ssi_signo);
    const char* const name = ::sigabbrev_np(number);
    const std::string reason =
        name != nullptr ? std::string("SIG") + name : std::to_string(number);
    if (draining_) {
      LogWarning(reason + ": already ending; unfinished files are waited for");
    }
    BeginDrain(reason);
  }
}

void MountDaemon::BeginDrain(const std::string& reason) {
  if (std::exchange(draining_, true)) return;
  const SteadyTime now = Now();
  drain_deadline_ = now + options_.drain_timeout;
  next_progress_ = now + kFirstProgress;
  LogInfo(reason + ": publishing what was written, then unmounting " +
          session_->mount_point() + " (at most " +
          std::to_string(options_.drain_timeout.count()) + " s)");
  strand_.Post([file_system = file_system_.get(), deadline = drain_deadline_,
                events = events_] {
    file_system->Drain(deadline, fs::Reply<fs::DrainReport>(
                                     [events](Result<fs::DrainReport> report) {
                                       events->report = std::move(report);
                                       events->drained = true;
                                       events->Wake();
                                     }));
  });
}

void MountDaemon::Progress() {
  if (unpublished_.has_value() && unpublished_->ready()) {
    const Result<std::vector<std::string>> files =
        std::move(*unpublished_).Get();
    unpublished_.reset();
    if (files.has_value() && !files->empty()) {
      const auto left =
          std::chrono::duration_cast<seconds>(drain_deadline_ - Now());
      Say(LogLevel::kInfo,
          "waiting up to " +
              std::to_string(std::max<std::int64_t>(left.count(), 0)) +
              " s for " + Count(files->size()) +
              " not published yet: " + NameSome(*files));
    }
  }
  if (unpublished_.has_value() || Now() < next_progress_) return;
  next_progress_ = Now() + kProgressInterval;
  Promise<std::vector<std::string>> promise;
  unpublished_ = promise.GetFuture();
  strand_.Post([file_system = file_system_.get(),
                promise = std::move(promise)]() mutable {
    promise.Set(file_system->UnpublishedFiles());
  });
}

ExitCode MountDaemon::Finish() {
  ExitCode code = ExitCode::kSuccess;
  if (!events_->drained) {
    code = ExitCode::kLostFiles;
  } else if (!events_->report.has_value()) {
    Say(LogLevel::kError,
        "the drain failed: " + events_->report.error().ToString());
    code = ExitCode::kLostFiles;
  } else {
    for (const std::string& file : events_->report->lost_files) {
      Say(LogLevel::kError, "lost: " + file +
                                " was not finished in time and was not "
                                "published; an older object is untouched");
      code = ExitCode::kLostFiles;
    }
  }
  while (control_->Accept()) {  // who asked in the last moment is told too
  }
  control_->StopListening();
  Result<void> unmounted = session_->Unmount(fuse::UnmountMode::kIfUnused);
  if (!unmounted.has_value()) {
    Say(LogLevel::kWarning, "programs still use " + session_->mount_point() +
                                "; they get ENOTCONN from now on");
    unmounted = session_->Unmount(fuse::UnmountMode::kForced);
  }
  if (!unmounted.has_value()) {
    Say(LogLevel::kError, unmounted.error().ToString());
    if (code == ExitCode::kSuccess) code = ExitCode::kMountPoint;
  }
  LogInfo("unmounted " + session_->mount_point() +
          (code == ExitCode::kLostFiles ? "; files were lost" : ""));
  control_->End(code);
  return code;
}

void MountDaemon::Say(LogLevel level, const std::string& line) {
  Log(level, line);
  control_->Say(line);
}

}  // namespace ckptfs::cli
