#include "checkpoint/io/side_by_side.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "transfer/when_all.h"

namespace ckptfs {

namespace {

// What the workers of one call share; touched on the executor alone, but for
// `stop`.
struct Shared {
  std::size_t n;
  IndexedWork work;
  std::size_t next = 0;
  std::optional<Error> error;  // the first
  std::stop_source stop;
};

Task<void> Work(Shared* shared) {
  while (!shared->error && shared->next < shared->n) {
    Task<Result<void>> task =
        shared->work(shared->next++, shared->stop.get_token());
    Result<void> done = co_await std::move(task);
    if (done || shared->error) continue;
    shared->error = done.error();
    shared->stop.request_stop();
  }
}

}  // namespace

Task<Result<void>> SideBySide(Executor& executor, std::size_t n,
                              std::size_t at_a_time, std::stop_token stop,
                              IndexedWork work) {
  Shared shared;
  shared.n = n;
  shared.work = std::move(work);
  const std::stop_callback forward(std::move(stop),
                                   [&shared] { shared.stop.request_stop(); });
  std::vector<Task<void>> workers;
  for (std::size_t i = 0; i < std::min(at_a_time, n); ++i) {
    workers.push_back(Work(&shared));
  }
  co_await WhenAll(executor, std::move(workers));
  if (shared.error) co_return Fail(*shared.error);
  co_return Result<void>();
}

}  // namespace ckptfs
