#include "checkpoint/engine/save_file.h"

#include <memory>
#include <utility>

#include "checkpoint/engine/files.h"
#include "common/log.h"

namespace ckptfs {

namespace {

Task<void> GiveUp(std::shared_ptr<ByteSink> sink) {
  Result<void> aborted = co_await sink->Abort();
  if (!aborted) LogWarning(aborted.error().ToString());
}

}  // namespace

Task<Result<void>> SaveFile(internal::EngineRuntime& runtime, std::string path,
                            std::uint64_t size, WriteParts write_parts,
                            SaveOptions options) {
  Files files(runtime);
  Result<std::unique_ptr<ByteSink>> opened =
      co_await files.Sink(std::move(path), size);
  CKPTFS_CO_RETURN_IF_ERROR(opened);
  const std::shared_ptr<ByteSink> sink = *std::move(opened);
  if (options.progress) {
    sink->OnArrival([progress = options.progress, size,
                     done = std::uint64_t{0}](std::uint64_t bytes) mutable {
      done += bytes;
      progress(done, size);
    });
  }
  // Requests that hang are not waited for: giving the sink up cancels them.
  const std::stop_callback cancel(
      options.stop, [sink, executor = &runtime.strand()] {
        executor->Post([sink, executor] { Spawn(*executor, GiveUp(sink)); });
      });
  Result<void> done = co_await write_parts(*sink, options.stop);
  if (done) done = co_await sink->Commit(std::move(options.condition));
  if (done) co_return done;
  co_await GiveUp(sink);
  if (options.stop.stop_requested() &&
      done.error().code() != ErrorCode::kOutcomeUnknown) {
    co_return Fail(ErrorCode::kCancelled,
                   "save " + sink->name() + ": cancelled");
  }
  co_return done;
}

}  // namespace ckptfs
