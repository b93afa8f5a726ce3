#include "python/stream_writer.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <unistd.h>

#include <algorithm>
#include <stop_token>
#include <utility>

#include "common/log.h"
#include "python/buffer.h"
#include "python/gil.h"
#include "python/raise.h"
#include "python/wait.h"

namespace nb = nanobind;

namespace ckptfs::python {

namespace {

// A copy of this much is worth giving the GIL away for.
constexpr std::size_t kLongCopy = 1 << 20;

Task<void> GiveUp(std::shared_ptr<StreamSink> sink) {
  Result<void> aborted = co_await sink->Abort();
  if (!aborted) LogWarning("left over: " + aborted.error().ToString());
}

}  // namespace

std::unique_ptr<StreamWriter> OpenStreamWriter(Engine& engine, std::string path,
                                               WriteCondition condition) {
  internal::EngineRuntime& runtime = engine.runtime();
  Future<std::shared_ptr<StreamSink>> creating =
      runtime.Start<std::shared_ptr<StreamSink>>(
          StreamSink::Create(runtime, std::move(path)));
  std::shared_ptr<StreamSink> sink =
      ValueOrRaise(Wait(runtime.strand(), std::move(creating), {}));
  return std::make_unique<StreamWriter>(runtime, std::move(sink),
                                        std::move(condition));
}

StreamWriter::StreamWriter(internal::EngineRuntime& runtime,
                           std::shared_ptr<StreamSink> sink,
                           WriteCondition condition)
    : runtime_(runtime),
      pid_(::getpid()),
      condition_(std::move(condition)),
      name_(sink->name()),
      sink_(std::move(sink)) {}

StreamWriter::~StreamWriter() {
  if (sink_ == nullptr) return;
  if (::getpid() != pid_) {
    // The upload is the parent's, and so are the threads that carry it.
    (void)new std::shared_ptr<StreamSink>(std::move(sink_));
    (void)new std::shared_ptr<std::string>(std::move(staged_));
    return;
  }
  const WithoutGil others;
  const Result<void> aborted = runtime_.Start<void>(sink_->Abort()).Get();
  if (!aborted) LogWarning("left over: " + aborted.error().ToString());
  Drop();
}

void StreamWriter::Drop() {
  runtime_.strand().Post([sink = std::move(sink_)]() mutable { sink.reset(); });
  sink_ = nullptr;
}

void StreamWriter::Check() const {
  if (::getpid() != pid_) {
    Raise(Error(ErrorCode::kUnsupported,
                name_ + " was opened before a fork; open it again in the new "
                        "process"));
  }
  if (error_) Raise(*error_);
  if (sink_ == nullptr) {
    Raise(Error(ErrorCode::kInvalidArgument, name_ + " is closed already"));
  }
}

void StreamWriter::Give(Error error) {
  error_ = std::move(error);
  staged_ = nullptr;
  Result<void> aborted;
  {
    const WithoutGil others;
    aborted = runtime_.Start<void>(sink_->Abort()).Get();
  }
  if (!aborted) LogWarning("left over: " + aborted.error().ToString());
  Drop();
}

void StreamWriter::Run(Task<Result<void>> task) {
  std::stop_source stop;
  // Requests that hang are not waited for: giving the sink up cancels them.
  const std::stop_callback cancel(
      stop.get_token(), [sink = sink_, executor = &runtime_.strand()] {
        executor->Post([sink, executor] { Spawn(*executor, GiveUp(sink)); });
      });
  Result<void> done;
  try {
    done = Wait(runtime_.strand(), runtime_.Start<void>(std::move(task)), stop);
  } catch (nb::python_error&) {
    Give(Error(ErrorCode::kCancelled, "save " + name_ + ": interrupted"));
    throw;
  }
  if (done) return;
  Give(done.error());
  Raise(*error_);
}

void StreamWriter::SendStaged() {
  Run(sink_->Write(std::exchange(staged_, nullptr)));
  parts_ = true;
}

std::size_t StreamWriter::Write(nb::handle data) {
  const Buffer buffer(data, false);
  Check();
  std::span<const std::byte> bytes = buffer.bytes();
  while (!bytes.empty()) {
    if (staged_ == nullptr) {
      const std::uint64_t lent = sink_->LendableBytes(bytes.size());
      if (lent > 0) {
        Run(sink_->WriteLent(bytes.first(lent)));
        parts_ = true;
        bytes = bytes.subspan(lent);
        continue;
      }
    }
    if (staged_ == nullptr) {
      staged_ = sink_->TakeBuffer();
      staged_->clear();
    }
    const std::uint64_t part_bytes = sink_->NextPartBytes();
    const std::uint64_t n =
        std::min<std::uint64_t>(bytes.size(), part_bytes - staged_->size());
    const auto copy = [&] {
      // Small files need no more than they have; what has had a part will most
      // likely fill another.
      if (parts_) staged_->reserve(part_bytes);
      staged_->append(reinterpret_cast<const char*>(bytes.data()), n);
    };
    if (n >= kLongCopy) {
      const WithoutGil others;
      copy();
    } else {
      copy();
    }
    bytes = bytes.subspan(n);
    if (staged_->size() == part_bytes) SendStaged();
  }
  return buffer.bytes().size();
}

void StreamWriter::Close() {
  Check();
  if (staged_ != nullptr) SendStaged();
  Run(sink_->Commit(condition_));
  Drop();
}

void StreamWriter::Abort() {
  if (sink_ == nullptr || ::getpid() != pid_) return;
  Give(Error(ErrorCode::kCancelled, "save " + name_ + ": given up"));
}

void BindStreamWriter(nb::module_& module) {
  nb::class_<StreamWriter>(module, "StreamWriter")
      .def("write", &StreamWriter::Write, nb::arg("data"))
      .def("close", &StreamWriter::Close)
      .def("abort", &StreamWriter::Abort);
}

}  // namespace ckptfs::python
