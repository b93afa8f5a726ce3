// RecordFetch: records on their way into memory of Python's, and who waits for
// which.
#pragma once

#include <nanobind/nanobind.h>
#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "checkpoint/engine/engine_runtime.h"
#include "checkpoint/zip/record_reader.h"

namespace ckptfs::python {

// Called with the GIL held. Runs from its construction on. `progress`, unless
// it is None, is called with the bytes of records that are there whole and
// those of all, while somebody waits.
class RecordFetch {
 public:
  struct Target {
    std::string name;
    ZipRecord record;
    std::span<std::byte> memory;
  };

  RecordFetch(internal::EngineRuntime& runtime, std::shared_ptr<ZipReader> zip,
              std::vector<Target> targets, nanobind::object owner,
              nanobind::object progress);
  // Cancels; returns when nothing writes into the memory any more.
  ~RecordFetch();
  RecordFetch(const RecordFetch&) = delete;
  RecordFetch& operator=(const RecordFetch&) = delete;

  // Until the record is there. Raises what ended the fetch before.
  void WaitFor(const std::string& name);
  void WaitForAll();
  // Does not wait.
  void Cancel() { stop_.request_stop(); }

 private:
  struct State;
  // Until the fetch has ended or that record, if one is named, is there.
  void WaitUntilEnded(const std::string* name);
  // Raises what ends the wait: of a signal, or of `progress_`.
  void Attend();

  const pid_t pid_;
  std::stop_source stop_;
  const std::shared_ptr<State> state_;
  // Of the memory; let go when the destructor has waited.
  const nanobind::object owner_;
  const nanobind::object progress_;
  std::uint64_t total_ = 0;
  std::uint64_t told_ = 0;
  std::chrono::steady_clock::time_point told_at_{};
};

}  // namespace ckptfs::python
