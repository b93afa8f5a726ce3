// WhenAll: runs Tasks side by side on one executor and waits for the last.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "common/task.h"

namespace ckptfs {

namespace internal {

// Touched on the executor alone.
struct WhenAllState {
  std::size_t left;
  Promise<void> all_done;
};

inline Task<void> CountDown(std::shared_ptr<WhenAllState> state,
                            Task<void> task) {
  co_await std::move(task);
  if (--state->left == 0) state->all_done.Set({});
}

}  // namespace internal

// To be awaited on `executor`, where all of `tasks` run.
inline Task<void> WhenAll(Executor& executor, std::vector<Task<void>> tasks) {
  if (tasks.empty()) co_return;
  auto state = std::make_shared<internal::WhenAllState>();
  state->left = tasks.size();
  Future<void> all_done = state->all_done.GetFuture();
  for (Task<void>& task : tasks) {
    Spawn(executor, internal::CountDown(state, std::move(task)));
  }
  Result<void> done = co_await std::move(all_done);
  (void)done;  // never an error: the last task sets it
}

}  // namespace ckptfs
