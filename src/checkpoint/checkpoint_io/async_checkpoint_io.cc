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

// The saves that are asked for and not done, and the thread that does them.
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
    saves_.push_back(
        {std::move(snapshot), std::move(path), std::move(options), bytes});
    ++turn_;
    changed_.NotifyAll();
    // Not before: a process that never saves has no thread.
    if (!worker_.joinable()) worker_ = std::thread([this] { Run(); });
  }

  // For the saves of that file, however its folder is spelled ("./x", a link, a
  // mount, its URI): for all of one name.
  void WaitFor(const std::string& path) {
    const std::string_view name = NameOf(path);
    MutexLock lock(mu_);
    while (std::any_of(saves_.begin(), saves_.end(), [&](const Save& save) {
      return NameOf(save.path) == name;
    })) {
      changed_.Wait(mu_);
    }
  }
  void WaitForAll() {
    MutexLock lock(mu_);
    while (!saves_.empty()) changed_.Wait(mu_);
  }

 private:
  struct Save {
    Value snapshot;
    std::string path;
    SaveOptions options;
    std::uint64_t bytes;
  };

  void Run() {
    MutexLock lock(mu_);
    while (true) {
      while (!stopping_ && saves_.empty()) changed_.Wait(mu_);
      if (saves_.empty()) return;
      // Stays in the queue until it is done; pushing leaves it where it is.
      Save& save = saves_.front();
      lock.Unlock();
      const Result<void> saved =
          inner_->SaveCheckpoint(save.snapshot, save.path, save.options);
      save.snapshot = Value();
      lock.Lock();
      if (!saved) {
        errors_.push_back(
            saved.error().WithContext("background save of " + save.path));
      }
      reserved_ -= save.bytes;
      saves_.pop_front();
      changed_.NotifyAll();
    }
  }

  const std::unique_ptr<CheckpointIO> inner_;
  const AsyncCheckpointOptions options_;

  Mutex mu_;  // not held while anything is copied or saved
  CondVar changed_;
  // The front one is under way; its snapshot is the worker's meanwhile.
  std::deque<Save> saves_ CKPTFS_GUARDED_BY(mu_);
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
  queue_->WaitFor(path);
  Result<void> removed = queue_->inner().RemoveCheckpoint(path);
  if (std::optional<Error> error = queue_->TakeError()) {
    if (!removed) LogError(removed.error().ToString());
    return Fail(*std::move(error));
  }
  return removed;
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
