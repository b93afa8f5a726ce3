// CheckpointIO on torch's types: Checkpoints by path.
//
//   ckptfs::Engine engine;
//   ckptfs::libtorch::CheckpointIO io(engine);
//   io.SaveCheckpoint(checkpoint, "s3://bucket/run/last.ckpt");
#pragma once

#include <c10/core/Device.h>
#include <ckptfs/checkpoint/async_checkpoint_io.h>
#include <ckptfs/checkpoint/checkpoint_io.h>
#include <ckptfs/checkpoint/options.h>
#include <ckptfs/engine.h>
#include <ckptfs/export.h>
#include <ckptfs/result.h>
#include <ckptfs/torch/checkpoint.h>

#include <map>
#include <memory>
#include <string>

namespace ckptfs::libtorch {

struct LoadCheckpointOptions {
  // Modules to restore, by the name of their part, which is then not in the
  // result. A module that is on the CPU as a whole is filled straight from the
  // file, without a second copy in memory: dtypes and shapes must be equal, and
  // no backward pass may be waiting for the old values. After an error of the
  // network or a cancellation it holds anything. Other modules are restored
  // with LoadStateDict.
  std::map<std::string, torch::nn::Module*> modules;
  // Missing and unexpected names of modules are an error, before any of them
  // is touched.
  bool strict = true;
  // Where the other tensors go when they become torch tensors.
  c10::Device map_location = c10::kCPU;
  // weights_only, filter, verify_crc, stop, progress; map_location is that
  // above. A filter sees names such as "model.0.weight".
  LoadOptions load;
};

// Calls block until they are done and never throw; see
// ckptfs/checkpoint/checkpoint_io.h for what they promise. Thread-safe as far
// as the CheckpointIO below is; a module or checkpoint that is being saved or
// restored belongs to the call.
class CKPTFS_EXPORT CheckpointIO {
 public:
  // Files of torch.save, through the engine, which outlives this.
  explicit CheckpointIO(Engine& engine);
  // Modules are restored by copies then, not in place.
  explicit CheckpointIO(std::unique_ptr<ckptfs::CheckpointIO> inner);
  // Saves in the background from a snapshot: see AsyncCheckpointIO.
  static CheckpointIO Async(Engine& engine,
                            AsyncCheckpointOptions options = {});

  // What was put may change again as soon as the call returns.
  // kPreconditionFailed and others as ckptfs::CheckpointIO.
  Result<void> SaveCheckpoint(const Checkpoint& checkpoint,
                              const std::string& path,
                              const SaveOptions& storage_options = {});
  // kInvalidArgument: also a file that holds something else than a dict; such
  // are loaded with LoadTorchFile.
  Result<Checkpoint> LoadCheckpoint(const std::string& path,
                                    const LoadCheckpointOptions& options = {});
  Result<void> RemoveCheckpoint(const std::string& path);
  Result<void> Teardown();
  // Whether LoadCheckpoint needs the modules. False for what is here.
  bool requires_state_on_load() const;

 private:
  Result<Checkpoint> LoadAll(const std::string& path,
                             const LoadCheckpointOptions& options);
  Result<Checkpoint> LoadInPlace(const std::string& path, const Dict& targets,
                                 const LoadCheckpointOptions& options);

  Engine* engine_ = nullptr;  // null: loads go through inner_ alone
  std::unique_ptr<ckptfs::CheckpointIO> inner_;
};

}  // namespace ckptfs::libtorch
