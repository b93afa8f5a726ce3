// StreamReader: a file that Python reads piece by piece.
#pragma once

#include <ckptfs/engine.h>
#include <nanobind/nanobind.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "checkpoint/engine/read_ahead.h"

namespace ckptfs::python {

// Of one process: calls in a process that was forked off raise. Called with the
// GIL held, by one thread at a time.
class StreamReader {
 public:
  StreamReader(internal::EngineRuntime& runtime,
               std::unique_ptr<ReadAhead> file);
  ~StreamReader();
  StreamReader(const StreamReader&) = delete;
  StreamReader& operator=(const StreamReader&) = delete;

  std::uint64_t size() const { return size_; }
  // The number of bytes is smaller than that of the buffer only at the end.
  std::size_t ReadInto(std::uint64_t offset, nanobind::handle buffer);
  nanobind::bytes Read(std::uint64_t offset, std::uint64_t bytes);
  // Lets go of memory and connections. Reads are errors from then on.
  void Close();

 private:
  std::size_t Fill(std::uint64_t offset, std::span<std::byte> into);

  internal::EngineRuntime& runtime_;
  const pid_t pid_;
  const std::uint64_t size_;
  std::unique_ptr<ReadAhead> file_;  // null: closed
};

std::unique_ptr<StreamReader> OpenStreamReader(Engine& engine,
                                               std::string path);

void BindStreamReader(nanobind::module_& module);

}  // namespace ckptfs::python
