// Wait: the result of an operation of the engine, while Python lives on: other
// threads run, and signals are heard.
#pragma once

#include <ckptfs/future.h>
#include <nanobind/nanobind.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <utility>

#include "common/mutex.h"
#include "python/gil.h"

namespace ckptfs::python {

// How long a signal may go unheard: Python handles it between two waits.
inline constexpr std::chrono::milliseconds kSignalPeriod{50};

// With the GIL held; gives it away while it waits. `executor`, which any thread
// may be, takes the result over. Where a signal handler raises (Ctrl-C), `stop`
// is asked, the end of the operation is waited for, and the exception goes on:
// nothing that was given to the operation is in use any more. `tick` is called
// as often as signals are handled; what it raises counts as what they raise.
template <typename T>
Result<T> Wait(Executor& executor, Future<T> future, std::stop_source stop,
               const std::function<void()>& tick = {}) {
  struct Shared {
    Mutex mu;
    CondVar cv;
    std::optional<Result<T>> result CKPTFS_GUARDED_BY(mu);
  };
  const auto shared = std::make_shared<Shared>();
  std::move(future).Then(executor, [shared](Result<T> result) {
    const MutexLock lock(shared->mu);
    shared->result.emplace(std::move(result));
    shared->cv.NotifyAll();
  });
  std::optional<nanobind::python_error> raised;
  std::optional<Result<T>> result;
  while (true) {
    {
      const WithoutGil others;
      const auto until = std::chrono::steady_clock::now() + kSignalPeriod;
      MutexLock lock(shared->mu);
      bool in_time = true;
      while (in_time && !shared->result.has_value()) {
        in_time = shared->cv.WaitUntil(shared->mu, until);
      }
      result = std::move(shared->result);
      shared->result.reset();
    }
    const bool done = result.has_value();
    if (PyErr_CheckSignals() != 0) {
      nanobind::python_error error;  // takes it from the interpreter
      if (!raised) raised.emplace(std::move(error));
      stop.request_stop();
    }
    if (!done && !raised && tick) {
      try {
        tick();
      } catch (nanobind::python_error& error) {
        raised.emplace(std::move(error));
        stop.request_stop();
      }
    }
    if (done) break;
  }
  if (raised) {
    raised->restore();
    throw nanobind::python_error();
  }
  return *std::move(result);
}

}  // namespace ckptfs::python
