// StreamWriter: a file that Python writes piece by piece.
#pragma once

#include <ckptfs/engine.h>
#include <nanobind/nanobind.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "checkpoint/engine/stream_sink.h"

namespace ckptfs::python {

// Appears when Close() succeeds, and not at all otherwise: the first error, or
// Ctrl-C, gives the file up, and every later call raises it again. Of one
// process: calls in a process that was forked off raise. Called with the GIL
// held, by one thread at a time.
class StreamWriter {
 public:
  StreamWriter(internal::EngineRuntime& runtime,
               std::shared_ptr<StreamSink> sink, WriteCondition condition);
  // Gives it up, and waits until nothing is left of it.
  ~StreamWriter();
  StreamWriter(const StreamWriter&) = delete;
  StreamWriter& operator=(const StreamWriter&) = delete;

  // The object's memory is not in use any more when this returns.
  std::size_t Write(nanobind::handle data);
  void Close();
  void Abort();

 private:
  void Check() const;
  // Waits, and gives the file up if it fails.
  void Run(Task<Result<void>> task);
  void Give(Error error);
  void SendStaged();
  // The sink lives and ends on the strand.
  void Drop();

  internal::EngineRuntime& runtime_;
  const pid_t pid_;
  const WriteCondition condition_;
  const std::string name_;
  std::shared_ptr<StreamSink> sink_;  // null: nothing to be done any more
  std::optional<Error> error_;
  std::shared_ptr<std::string> staged_;  // the beginning of the next part
  bool parts_ = false;                   // there was one
};

std::unique_ptr<StreamWriter> OpenStreamWriter(Engine& engine, std::string path,
                                               WriteCondition condition);

void BindStreamWriter(nanobind::module_& module);

}  // namespace ckptfs::python
