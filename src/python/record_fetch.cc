#include "python/record_fetch.h"

#include <unistd.h>

#include <condition_variable>
#include <mutex>
#include <optional>
#include <unordered_set>
#include <utility>

#include "python/gil.h"
#include "python/raise.h"
#include "python/wait.h"

namespace nb = nanobind;

namespace ckptfs::python {

struct RecordFetch::State {
  std::shared_ptr<ZipReader> zip;
  std::vector<Target> targets;  // constant

  std::mutex mu;
  std::condition_variable cv;
  // Guarded by mu.
  std::unordered_set<std::string> arrived;
  std::uint64_t arrived_bytes = 0;
  std::optional<Result<void>> result;
  bool memory_free = false;  // nothing writes into it any more
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
    const std::lock_guard lock(state_->mu);
    state_->memory_free = true;
    state_->cv.notify_all();
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
        const std::lock_guard lock(state->mu);
        state->arrived.insert(name);
        state->arrived_bytes += want.memory.size();
        state->cv.notify_all();
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
                            const std::lock_guard lock(state->mu);
                            state->result.emplace(std::move(result));
                            state->cv.notify_all();
                          });
}

RecordFetch::~RecordFetch() {
  // The threads that would have to stop are not in a process forked off.
  if (::getpid() != pid_) return;
  stop_.request_stop();
  const WithoutGil others;
  std::unique_lock lock(state_->mu);
  state_->cv.wait(lock,
                  [this] { return state_->result && state_->memory_free; });
}

void RecordFetch::Attend() {
  if (PyErr_CheckSignals() != 0) throw nb::python_error();
  if (progress_.is_none()) return;
  std::uint64_t arrived = 0;
  {
    const std::lock_guard lock(state_->mu);
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

template <typename Done>
void RecordFetch::WaitUntil(Done done) {
  while (true) {
    bool ended = false;
    {
      const WithoutGil others;
      std::unique_lock lock(state_->mu);
      ended = state_->cv.wait_for(lock, kSignalPeriod, done);
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
  WaitUntil([&] { return state_->result || state_->arrived.contains(name); });
  std::optional<Error> error;
  {
    const std::lock_guard lock(state_->mu);
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
  WaitUntil([this] { return state_->result.has_value(); });
  Result<void> result;
  {
    const std::lock_guard lock(state_->mu);
    result = *state_->result;
  }
  ValueOrRaise(std::move(result));
}

}  // namespace ckptfs::python
