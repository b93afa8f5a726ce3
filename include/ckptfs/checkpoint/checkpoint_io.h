// CheckpointIO: checkpoints by path, behind the interface that trainers know
// from Lightning (lightning.pytorch.plugins.io.CheckpointIO).
#pragma once

#include <ckptfs/checkpoint/options.h>
#include <ckptfs/checkpoint/value.h>
#include <ckptfs/engine.h>
#include <ckptfs/export.h>
#include <ckptfs/result.h>

#include <memory>
#include <optional>
#include <string>

namespace ckptfs {

// How a checkpoint is to be loaded.
struct CheckpointLoadOptions {
  // Tensors to restore in place, matched by name (tensor_names.h); the result
  // is what is left to apply: see LoadCheckpoint.
  std::optional<Value> state;
  // With `state`: missing and unexpected names are an error.
  bool strict = true;
  LoadOptions load;
};

// Calls block until they are done, and never throw. Implementations say how far
// they are thread-safe.
class CKPTFS_EXPORT CheckpointIO {
 public:
  virtual ~CheckpointIO() = default;

  // Saves `checkpoint` under `path`, whole or not at all; the older file is
  // replaced. The tensors' memory must not change meanwhile.
  virtual Result<void> SaveCheckpoint(const Value& checkpoint,
                                      const std::string& path,
                                      const SaveOptions& storage_options) = 0;
  Result<void> SaveCheckpoint(const Value& checkpoint,
                              const std::string& path) {
    return SaveCheckpoint(checkpoint, path, SaveOptions());
  }

  // The values of the file. With options.state, its tensors are filled in place
  // and the result holds everything else of the file: dicts without what was
  // restored, None where nothing is left to apply. kNotFound: no such file.
  virtual Result<Value> LoadCheckpoint(
      const std::string& path, const CheckpointLoadOptions& options) = 0;
  Result<Value> LoadCheckpoint(const std::string& path) {
    return LoadCheckpoint(path, CheckpointLoadOptions());
  }

  // A file that is not there is a success.
  virtual Result<void> RemoveCheckpoint(const std::string& path) = 0;

  // Waits for what is under way; the error, if any, of what nobody has been
  // told of yet. The object stays usable.
  virtual Result<void> Teardown() = 0;

  // Whether LoadCheckpoint needs options.state.
  virtual bool requires_state_on_load() const { return false; }
};

// Files of torch.save at any path that LoadTorchFile takes: s3://, plain files,
// mounts of ckptfs. Thread-safe. The engine outlives it.
CKPTFS_EXPORT std::unique_ptr<CheckpointIO> MakeCheckpointIO(Engine& engine);

}  // namespace ckptfs
