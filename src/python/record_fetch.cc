#include "python/record_fetch.h"

#include <unistd.h>

#include <optional>
#include <unordered_set>
#include <utility>

#include "common/mutex.h"
#include "python/gil.h"
#include "python/raise.h"
#include "python/wait.h"

namespace nb = nanobind;

namespace ckptfs::python {

struct RecordFetch::State {
  std::shared_ptr<ZipReader> zip;
  std::vector<Target> targets;  // constant

  Mutex mu;
  CondVar cv;
  std::unordered_set<std::string> arrived CKPTFS_GUARDED_BY(mu);
  std::uint64_t arrived_bytes CKPTFS_GUARDED_BY(mu) = 0;
  std::optional<Result<void>> result CKPTFS_GUARDED_BY(mu);
  // Nothing writes into it any more.
  bool memory_free CKPTFS_GUARDED_BY(mu) = false;
};

namespace {

// Lives as long as some thread may write into the memory.
template <typename State>
class MemoryUser {
 public:
  explicit MemoryUser(std::shared_ptr<State> state)
      : state_(std::move(state)) {}
  MemoryUser(const MemoryUser&) = delete;
  MemoryUser& operator=(const MemoryUser&) = delete;
  ~MemoryUser() {
    const MutexLock lock(state_->mu);
    state_->memory_free = true;
    state_->cv.NotifyAll();
  }

 private:
  const std::shared_ptr<State> state_;
};

template <typename State>
Task<Result<void>> ReadRecords(internal::EngineRuntime& runtime,
                               std::shared_ptr<State> state,
                               std::shared_ptr<void> user,
                               std::stop_token stop) {
  std::vector<RecordReader::Want> wants;
  for (const auto& target : state->targets) {
    wants.push_back({&target.record, 0, target.memory.size(), target.memory});
  }
  RecordReader reader(*state->zip, runtime.strand());
  // Which target a want was made of is told by its record, a member of it.
  std::function<void(const RecordReader::Want&)> got =
      [state](const RecordReader::Want& want) {
        const std::string name = want.record->entry.name.substr(
            want.record->entry.name.find('/') + 1);
        const MutexLock lock(state->mu);
        state->arrived.insert(name);
        state->arrived_bytes += want.memory.size();
        state->cv.NotifyAll();
      };
  Result<void> read =
      co_await reader.Read(std::move(wants), std::move(user), runtime.pool(),
                           std::move(stop), std::move(got));
  co_return read;
}

}  // namespace

RecordFetch::RecordFetch(internal::EngineRuntime& runtime,
                         std::shared_ptr<ZipReader> zip,
                         std::vector<Target> targets, nb::object owner,
                         nb::object progress)
    : pid_(::getpid()),
      state_(std::make_shared<State>()),
      owner_(std::move(owner)),
      progress_(std::move(progress)) {
  state_->zip = std::move(zip);
  state_->targets = std::move(targets);
  // Nothing is asked of the server for records without bytes.
  for (const Target& target : state_->targets) {
    if (target.memory.empty()) state_->arrived.insert(target.name);
    total_ += target.memory.size();
  }
  Future<void> reading = runtime.Start<void>(
      ReadRecords(runtime, state_, std::make_shared<MemoryUser<State>>(state_),
                  stop_.get_token()));
  std::move(reading).Then(runtime.strand(),
                          [state = state_](Result<void> result) {
                            const MutexLock lock(state->mu);
                            state->result.emplace(std::move(result));
                            state->cv.NotifyAll();
                          });
}

RecordFetch::~RecordFetch() {
  // The threads that would have to stop are not in a process forked off.
  if (::getpid() != pid_) return;
  stop_.request_stop();
  const WithoutGil others;
  MutexLock lock(state_->mu);
  while (!state_->result || !state_->memory_free) state_->cv.Wait(state_->mu);
}

void RecordFetch::Attend() {
  if (PyErr_CheckSignals() != 0) throw nb::python_error();
  if (progress_.is_none()) return;
  std::uint64_t arrived = 0;
  {
    const MutexLock lock(state_->mu);
    arrived = state_->arrived_bytes;
  }
  // Records may be many and small: no more often than signals are handled.
  const auto now = std::chrono::steady_clock::now();
  if (arrived == told_ ||
      (now - told_at_ < kSignalPeriod && arrived < total_)) {
    return;
  }
  told_ = arrived;
  told_at_ = now;
  progress_(arrived, total_);
}

void RecordFetch::WaitUntilEnded(const std::string* name) {
  while (true) {
    bool ended = false;
    {
      const WithoutGil others;
      const auto until = std::chrono::steady_clock::now() + kSignalPeriod;
      MutexLock lock(state_->mu);
      bool in_time = true;
      while (!ended && in_time) {
        ended = state_->result.has_value() ||
                (name != nullptr && state_->arrived.contains(*name));
        if (!ended) in_time = state_->cv.WaitUntil(state_->mu, until);
      }
    }
    try {
      Attend();
    } catch (nb::python_error&) {
      stop_.request_stop();
      throw;
    }
    if (ended) return;
  }
}

void RecordFetch::WaitFor(const std::string& name) {
  WaitUntilEnded(&name);
  std::optional<Error> error;
  {
    const MutexLock lock(state_->mu);
    if (!state_->arrived.contains(name)) {
      error = state_->result->has_value()
                  ? Error(ErrorCode::kInternal,
                          "record " + name + " was not asked for")
                  : state_->result->error();
    }
  }
  if (error) Raise(*error);
}

void RecordFetch::WaitForAll() {
  WaitUntilEnded(nullptr);
  Result<void> result;
  {
    const MutexLock lock(state_->mu);
    result = *state_->result;
  }
  ValueOrRaise(std::move(result));
}

}  // namespace ckptfs::python
