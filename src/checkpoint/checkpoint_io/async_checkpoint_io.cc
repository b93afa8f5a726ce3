#include <ckptfs/checkpoint/async_checkpoint_io.h>

#include <algorithm>
#include <deque>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>

#include "checkpoint/tensors/snapshot.h"
#include "common/log.h"
#include "common/mutex.h"

namespace ckptfs {

namespace {

// The last part of a path.
std::string_view NameOf(std::string_view path) {
  while (path.ends_with('/')) path.remove_suffix(1);
  return path.substr(path.rfind('/') + 1);
}

}  // namespace

// The saves and removals that are asked for and not done, and the thread that
// does them, in order.
class AsyncCheckpointIO::Queue {
 public:
  Queue(std::unique_ptr<CheckpointIO> inner, AsyncCheckpointOptions options)
      : inner_(std::move(inner)), options_(options) {}

  ~Queue() {
    {
      const MutexLock lock(mu_);
      stopping_ = true;
      changed_.NotifyAll();
    }
    if (worker_.joinable()) worker_.join();
    for (const Error& error : errors_) LogError(error.ToString());
  }

  CheckpointIO& inner() { return *inner_; }

  // Of all that nobody was told of: the code of the oldest, all messages.
  std::optional<Error> TakeError() {
    const MutexLock lock(mu_);
    return Untold();
  }

  // Blocks until a snapshot of `bytes` may be taken, and counts it. In the
  // order of the calls: a small one does not overtake a large one.
  void Reserve(std::uint64_t bytes) {
    MutexLock lock(mu_);
    const std::uint64_t turn = next_turn_++;
    while (turn != turn_ ||
           (reserved_ > 0 && reserved_ + bytes > options_.max_snapshot_bytes)) {
      changed_.Wait(mu_);
    }
    reserved_ += bytes;
  }
  // The turn passes on only with the save in the queue: saves keep the order of
  // the calls.
  void Drop(std::uint64_t bytes) {
    const MutexLock lock(mu_);
    reserved_ -= bytes;
    ++turn_;
    changed_.NotifyAll();
  }
  void Push(Value snapshot, std::string path, SaveOptions options,
            std::uint64_t bytes) {
    const MutexLock lock(mu_);
    jobs_.push_back({Job::Kind::kSave, std::move(path), std::move(snapshot),
                     std::move(options), bytes});
    ++turn_;
    changed_.NotifyAll();
    // Not before: a process that never saves has no thread.
    if (!worker_.joinable()) worker_ = std::thread([this] { Run(); });
  }

  // Now, where nothing is under way; else in its turn, so that what replaces
  // the checkpoint is there before. One that is being saved is waited for.
  Result<void> Remove(const std::string& path) {
    MutexLock lock(mu_);
    if (std::optional<Error> error = Untold()) return Fail(*std::move(error));
    if (jobs_.empty()) {
      lock.Unlock();
      return inner_->RemoveCheckpoint(path);
    }
    const bool being_saved = Has(path);
    jobs_.push_back({Job::Kind::kRemove, path, Value(), SaveOptions(), 0});
    changed_.NotifyAll();
    if (!being_saved) return {};
    while (Has(path)) changed_.Wait(mu_);
    if (std::optional<Error> error = Untold()) return Fail(*std::move(error));
    return {};
  }

  void WaitFor(const std::string& path) {
    MutexLock lock(mu_);
    while (Has(path)) changed_.Wait(mu_);
  }
  void WaitForAll() {
    MutexLock lock(mu_);
    while (!jobs_.empty()) changed_.Wait(mu_);
  }

 private:
  struct Job {
    enum class Kind { kSave, kRemove };
    Kind kind;
    std::string path;
    // Of a save.
    Value snapshot;
    SaveOptions options;
    std::uint64_t bytes;
  };

  // Of that file, however its folder is spelled ("./x", a link, a mount, its
  // URI): all of one name.
  bool Has(const std::string& path) const CKPTFS_REQUIRES(mu_) {
    const std::string_view name = NameOf(path);
    return std::any_of(jobs_.begin(), jobs_.end(), [&](const Job& job) {
      return NameOf(job.path) == name;
    });
  }

  std::optional<Error> Untold() CKPTFS_REQUIRES(mu_) {
    if (errors_.empty()) return std::nullopt;
    Error error = errors_.front();
    std::string others;
    for (std::size_t i = 1; i < errors_.size(); ++i) {
      others += "; " + errors_[i].ToString();
    }
    if (!others.empty()) {
      error = Error(error.code(), error.ToString() + others);
    }
    errors_.clear();
    return error;
  }

  void Run() {
    MutexLock lock(mu_);
    while (true) {
      while (!stopping_ && jobs_.empty()) changed_.Wait(mu_);
      if (jobs_.empty()) return;
      // Stays in the queue until it is done; pushing leaves it where it is.
      Job& job = jobs_.front();
      const bool failed_before = !errors_.empty();
      lock.Unlock();
      const Result<void> done = Do(job, failed_before);
      job.snapshot = Value();
      lock.Lock();
      if (!done) {
        errors_.push_back(done.error().WithContext(
            (job.kind == Job::Kind::kSave ? "background save of "
                                          : "background removal of ") +
            job.path));
      }
      reserved_ -= job.bytes;
      jobs_.pop_front();
      changed_.NotifyAll();
    }
  }

  Result<void> Do(const Job& job, bool failed_before) {
    if (job.kind == Job::Kind::kSave) {
      return inner_->SaveCheckpoint(job.snapshot, job.path, job.options);
    }
    // It may be the last good one.
    if (failed_before) {
      return Fail(ErrorCode::kCancelled,
                  "it was not removed, because of the failure before");
    }
    return inner_->RemoveCheckpoint(job.path);
  }

  const std::unique_ptr<CheckpointIO> inner_;
  const AsyncCheckpointOptions options_;

  Mutex mu_;  // not held while anything is copied or saved
  CondVar changed_;
  // The front one is under way; its snapshot is the worker's meanwhile.
  std::deque<Job> jobs_ CKPTFS_GUARDED_BY(mu_);
  std::deque<Error> errors_ CKPTFS_GUARDED_BY(mu_);
  std::uint64_t reserved_ CKPTFS_GUARDED_BY(mu_) = 0;  // bytes of snapshots
  std::uint64_t next_turn_ CKPTFS_GUARDED_BY(mu_) = 0;
  std::uint64_t turn_ CKPTFS_GUARDED_BY(mu_) = 0;  // whose Reserve is next
  bool stopping_ CKPTFS_GUARDED_BY(mu_) = false;
  std::thread worker_ CKPTFS_GUARDED_BY(mu_);
};

AsyncCheckpointIO::AsyncCheckpointIO(std::unique_ptr<CheckpointIO> inner,
                                     AsyncCheckpointOptions options)
    : queue_(std::make_unique<Queue>(std::move(inner), options)) {}

AsyncCheckpointIO::~AsyncCheckpointIO() = default;

Result<void> AsyncCheckpointIO::SaveCheckpoint(
    const Value& checkpoint, const std::string& path,
    const SaveOptions& storage_options) {
  if (std::optional<Error> error = queue_->TakeError()) {
    return Fail(*std::move(error));
  }
  CKPTFS_ASSIGN_OR_RETURN(const std::uint64_t bytes, SnapshotBytes(checkpoint));
  queue_->Reserve(bytes);
  Result<Value> snapshot = TakeSnapshot(checkpoint);
  if (!snapshot) {
    queue_->Drop(bytes);
    return Fail(snapshot.error().WithContext("snapshot of " + path));
  }
  queue_->Push(*std::move(snapshot), path, storage_options, bytes);
  return {};
}

Result<Value> AsyncCheckpointIO::LoadCheckpoint(
    const std::string& path, const CheckpointLoadOptions& options) {
  queue_->WaitFor(path);
  if (std::optional<Error> error = queue_->TakeError()) {
    return Fail(*std::move(error));
  }
  return queue_->inner().LoadCheckpoint(path, options);
}

Result<void> AsyncCheckpointIO::RemoveCheckpoint(const std::string& path) {
  return queue_->Remove(path);
}

Result<void> AsyncCheckpointIO::Teardown() {
  queue_->WaitForAll();
  if (std::optional<Error> error = queue_->TakeError()) {
    return Fail(*std::move(error));
  }
  return queue_->inner().Teardown();
}

bool AsyncCheckpointIO::requires_state_on_load() const {
  return queue_->inner().requires_state_on_load();
}

}  // namespace ckptfs
