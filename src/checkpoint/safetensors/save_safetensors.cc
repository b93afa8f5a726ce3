// SaveSafetensors: plan, sink, parts, commit; nothing is left where it fails.
#include <ckptfs/checkpoint/safetensors.h>

#include <utility>

#include "checkpoint/engine/save_file.h"
#include "checkpoint/io/run_on.h"
#include "checkpoint/safetensors/safetensors_writer.h"

namespace ckptfs {

namespace {

Task<Result<void>> SaveTask(internal::EngineRuntime& runtime,
                            SafetensorsFile file, std::string path,
                            SaveOptions options) {
  Future<SafetensorsWriter> planning = RunOn<SafetensorsWriter>(
      runtime.pool(), [file = std::move(file)]() mutable {
        return SafetensorsWriter::Plan(std::move(file));
      });
  Result<SafetensorsWriter> writer = co_await std::move(planning);
  if (!writer) co_return Fail(writer.error().WithContext("save " + path));
  const std::uint64_t size = writer->file_bytes();
  WriteParts write_parts = [writer = *std::move(writer)](
                               ByteSink& sink, std::stop_token stop) mutable {
    return writer.WriteTo(sink, std::move(stop));
  };
  Result<void> saved =
      co_await SaveFile(runtime, std::move(path), size, std::move(write_parts),
                        std::move(options));
  co_return saved;
}

}  // namespace

Future<void> SaveSafetensors(Engine& engine, SafetensorsFile file,
                             std::string path, SaveOptions options) {
  internal::EngineRuntime& runtime = engine.runtime();
  return runtime.Start<void>(
      SaveTask(runtime, std::move(file), std::move(path), std::move(options)));
}

}  // namespace ckptfs
