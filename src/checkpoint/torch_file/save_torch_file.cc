// SaveTorchFile: plan, sink, parts, commit; nothing is left where it fails.
#include <ckptfs/checkpoint/torch_file.h>

#include <memory>
#include <utility>

#include "checkpoint/engine/save_file.h"
#include "checkpoint/io/run_on.h"
#include "checkpoint/torch_file/save_planned_file.h"
#include "checkpoint/torch_file/torch_file_writer.h"

namespace ckptfs {

Task<Result<void>> SavePlannedFile(internal::EngineRuntime& runtime,
                                   std::string path, TorchFileWriter writer,
                                   SaveOptions options) {
  const std::uint64_t size = writer.file_bytes();
  WriteParts write_parts = [&runtime, writer = std::move(writer)](
                               ByteSink& sink, std::stop_token stop) mutable {
    return writer.WriteTo(sink, runtime.pool(), std::move(stop));
  };
  Result<void> saved =
      co_await SaveFile(runtime, std::move(path), size, std::move(write_parts),
                        std::move(options));
  co_return saved;
}

namespace {

Task<Result<void>> SaveTask(internal::EngineRuntime& runtime, Value value,
                            std::string path, SaveOptions options) {
  // The pickle of a large state takes the pool some milliseconds.
  Future<TorchFileWriter> planning =
      RunOn<TorchFileWriter>(runtime.pool(), [value = std::move(value), path] {
        return TorchFileWriter::Plan(value, ZipArchiveName(path));
      });
  Result<TorchFileWriter> writer = co_await std::move(planning);
  if (!writer) co_return Fail(writer.error().WithContext("save " + path));
  Result<void> saved = co_await SavePlannedFile(
      runtime, std::move(path), *std::move(writer), std::move(options));
  co_return saved;
}

}  // namespace

Future<void> SaveTorchFile(Engine& engine, Value value, std::string path,
                           SaveOptions options) {
  internal::EngineRuntime& runtime = engine.runtime();
  return runtime.Start<void>(
      SaveTask(runtime, std::move(value), std::move(path), std::move(options)));
}

}  // namespace ckptfs
