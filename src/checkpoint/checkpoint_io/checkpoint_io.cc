#include <ckptfs/checkpoint/checkpoint_io.h>
#include <ckptfs/checkpoint/torch_file.h>

#include <set>
#include <utility>

#include "checkpoint/checkpoint_io/rest_of.h"
#include "checkpoint/engine/files.h"

namespace ckptfs {

namespace {

Task<Result<void>> RemoveTask(internal::EngineRuntime& runtime,
                              std::string path) {
  Files files(runtime);
  Result<void> removed = co_await files.Remove(std::move(path));
  co_return removed;
}

class EngineCheckpointIO final : public CheckpointIO {
 public:
  explicit EngineCheckpointIO(Engine& engine) : engine_(engine) {}

  Result<void> SaveCheckpoint(const Value& checkpoint, const std::string& path,
                              const SaveOptions& storage_options) override {
    return SaveTorchFile(engine_, checkpoint, path, storage_options).Get();
  }

  Result<Value> LoadCheckpoint(const std::string& path,
                               const CheckpointLoadOptions& options) override {
    if (!options.state) {
      return LoadTorchFile(engine_, path, options.load).Get();
    }
    LoadIntoOptions into;
    into.load = options.load;
    into.strict = options.strict;
    CKPTFS_ASSIGN_OR_RETURN(
        const LoadReport report,
        LoadTorchFileInto(engine_, path, *options.state, into).Get());
    return RestOf(report.value);
  }

  Result<void> RemoveCheckpoint(const std::string& path) override {
    internal::EngineRuntime& runtime = engine_.runtime();
    return runtime.Start<void>(RemoveTask(runtime, path)).Get();
  }

  Result<void> Teardown() override { return {}; }

 private:
  Engine& engine_;
};

}  // namespace

std::unique_ptr<CheckpointIO> MakeCheckpointIO(Engine& engine) {
  return std::make_unique<EngineCheckpointIO>(engine);
}

}  // namespace ckptfs
