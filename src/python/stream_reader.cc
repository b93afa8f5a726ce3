#include "python/stream_reader.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "python/buffer.h"
#include "python/gil.h"
#include "python/raise.h"
#include "python/wait.h"

namespace nb = nanobind;

namespace ckptfs::python {

std::unique_ptr<StreamReader> OpenStreamReader(Engine& engine,
                                               std::string path) {
  internal::EngineRuntime& runtime = engine.runtime();
  std::stop_source stop;
  Future<std::unique_ptr<ReadAhead>> opening =
      runtime.Start<std::unique_ptr<ReadAhead>>(
          ReadAhead::Open(runtime, std::move(path), stop.get_token()));
  return std::make_unique<StreamReader>(
      runtime, ValueOrRaise(Wait(runtime.strand(), std::move(opening), stop)));
}

StreamReader::StreamReader(internal::EngineRuntime& runtime,
                           std::unique_ptr<ReadAhead> file)
    : runtime_(runtime),
      pid_(::getpid()),
      size_(file->size()),
      file_(std::move(file)) {}

StreamReader::~StreamReader() { Close(); }

void StreamReader::Close() {
  // The threads that would have to stop are not in a process forked off.
  if (::getpid() != pid_) {
    (void)file_.release();
    return;
  }
  const WithoutGil others;
  file_.reset();
}

std::size_t StreamReader::Fill(std::uint64_t offset,
                               std::span<std::byte> into) {
  if (::getpid() != pid_) {
    Raise(Error(ErrorCode::kUnsupported,
                "the stream was opened before a fork; open it again in the "
                "new process"));
  }
  if (file_ == nullptr) {
    Raise(Error(ErrorCode::kInvalidArgument, "a read of a closed stream"));
  }
  // What Ctrl-C raises goes on when the engine has let go of the memory.
  std::optional<nb::python_error> raised;
  const ReadAhead::Waiter wait = [&](Future<void> future,
                                     std::stop_source stop) -> Result<void> {
    try {
      return Wait(runtime_.strand(), std::move(future), std::move(stop));
    } catch (nb::python_error& error) {
      if (!raised) raised.emplace(std::move(error));
      return Fail(ErrorCode::kCancelled, "interrupted");
    }
  };
  Result<std::uint64_t> read = file_->Read(offset, into, wait);
  if (raised) {
    raised->restore();
    throw nb::python_error();
  }
  return ValueOrRaise(std::move(read));
}

std::size_t StreamReader::ReadInto(std::uint64_t offset, nb::handle buffer) {
  const Buffer memory(buffer, true);
  return Fill(offset, memory.bytes());
}

nb::bytes StreamReader::Read(std::uint64_t offset, std::uint64_t bytes) {
  const std::uint64_t there =
      offset < size_ ? std::min(bytes, size_ - offset) : 0;
  const nb::bytes made = nb::steal<nb::bytes>(
      PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(there)));
  if (!made.is_valid()) throw nb::python_error();
  // Nobody else has seen it yet.
  Fill(offset, {reinterpret_cast<std::byte*>(PyBytes_AS_STRING(made.ptr())),
                static_cast<std::size_t>(there)});
  return made;
}

void BindStreamReader(nb::module_& module) {
  nb::class_<StreamReader>(module, "StreamReader")
      .def_prop_ro("size", &StreamReader::size)
      .def("read_into", &StreamReader::ReadInto, nb::arg("offset"),
           nb::arg("buffer"))
      .def("read", &StreamReader::Read, nb::arg("offset"), nb::arg("size"))
      .def("close", &StreamReader::Close);
}

}  // namespace ckptfs::python
