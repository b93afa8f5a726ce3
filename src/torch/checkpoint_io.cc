#include <ckptfs/checkpoint/torch_file.h>
#include <ckptfs/torch/checkpoint_io.h>

#include <functional>
#include <set>
#include <string_view>
#include <utility>

#include "torch/into_memory.h"

namespace ckptfs::libtorch {

namespace {

// The modules whose tensors all lie in host memory, as a value to load into.
Result<Dict> InPlaceTargets(
    const std::map<std::string, torch::nn::Module*>& modules) {
  Dict targets;
  for (const auto& [name, module] : modules) {
    TensorConverter tensors;
    Result<Value> state = StateDict(*module, tensors);
    if (!state) return Fail(state.error().WithContext("part " + name));
    if (!tensors.copied()) targets.Assign(name, *std::move(state));
  }
  return targets;
}

LoadOptions OptionsOf(const LoadCheckpointOptions& options) {
  LoadOptions load = options.load;
  load.map_location = [location = options.map_location.str()](
                          std::string_view) { return location; };
  return load;
}

}  // namespace

CheckpointIO::CheckpointIO(Engine& engine)
    : engine_(&engine), inner_(MakeCheckpointIO(engine)) {}

CheckpointIO::CheckpointIO(std::unique_ptr<ckptfs::CheckpointIO> inner)
    : inner_(std::move(inner)) {}

CheckpointIO CheckpointIO::Async(Engine& engine,
                                 AsyncCheckpointOptions options) {
  CheckpointIO io(
      std::make_unique<AsyncCheckpointIO>(MakeCheckpointIO(engine), options));
  io.engine_ = &engine;
  return io;
}

Result<void> CheckpointIO::SaveCheckpoint(const Checkpoint& checkpoint,
                                          const std::string& path,
                                          const SaveOptions& storage_options) {
  return inner_->SaveCheckpoint(checkpoint.value(), path, storage_options);
}

Result<Checkpoint> CheckpointIO::LoadCheckpoint(
    const std::string& path, const LoadCheckpointOptions& options) {
  Dict targets;
  if (engine_ != nullptr) {
    CKPTFS_ASSIGN_OR_RETURN(targets, InPlaceTargets(options.modules));
  }
  Result<Checkpoint> loaded = targets.size() == 0
                                  ? LoadAll(path, options)
                                  : LoadInPlace(path, targets, options);
  if (!loaded) return Fail(loaded.error().WithContext("load " + path));
  for (const auto& [name, module] : options.modules) {
    if (targets.Find(name) == nullptr) {
      const Result<IncompatibleKeys> restored =
          loaded->Restore(name, *module, options.strict);
      if (!restored) {
        return Fail(restored.error().WithContext("load " + path));
      }
    }
    loaded->value().AsDict()->Erase(name);
  }
  return loaded;
}

Result<Checkpoint> CheckpointIO::LoadAll(const std::string& path,
                                         const LoadCheckpointOptions& options) {
  CheckpointLoadOptions plain;
  plain.load = OptionsOf(options);
  CKPTFS_ASSIGN_OR_RETURN(Value value, inner_->LoadCheckpoint(path, plain));
  return Checkpoint::FromValue(std::move(value));
}

// Two looks at the file: what is in it, then the bytes. All bytes and values
// that come out are of the version of the second; if the file was replaced in
// between by one with other tensors, that is an error.
Result<Checkpoint> CheckpointIO::LoadInPlace(
    const std::string& path, const Dict& targets,
    const LoadCheckpointOptions& options) {
  CheckpointLoadOptions description;
  description.load = OptionsOf(options);
  description.load.progress = nullptr;
  description.load.filter = [](std::string_view) { return false; };
  CKPTFS_ASSIGN_OR_RETURN(const Value described,
                          inner_->LoadCheckpoint(path, description));
  CKPTFS_ASSIGN_OR_RETURN(const Checkpoint parts,
                          Checkpoint::FromValue(described));
  Dict into;
  for (const auto& [key, value] : parts.value().AsDict()->items()) {
    const std::string* name = key.AsString();
    if (name == nullptr || targets.Find(*name) == nullptr) {
      into.Assign(key, value);
    }
  }
  // Of these alone: what shares a storage with a module's tensor in the file
  // has memory of its own here.
  CKPTFS_RETURN_IF_ERROR(GiveMemory(Value(into), options.load.filter));
  for (const auto& [key, value] : targets.items()) {
    if (parts.Find(*key.AsString()) == nullptr) {
      return Fail(ErrorCode::kNotFound,
                  "the checkpoint has no part " + *key.AsString());
    }
    into.Assign(key, value);
  }
  LoadIntoOptions second;
  second.load = OptionsOf(options);
  second.strict = options.strict;
  CKPTFS_ASSIGN_OR_RETURN(
      LoadReport report,
      LoadTorchFileInto(*engine_, path, Value(std::move(into)), second).Get());
  return Checkpoint::FromValue(std::move(report.value));
}

Result<void> CheckpointIO::RemoveCheckpoint(const std::string& path) {
  return inner_->RemoveCheckpoint(path);
}

Result<void> CheckpointIO::Teardown() { return inner_->Teardown(); }

bool CheckpointIO::requires_state_on_load() const {
  return inner_->requires_state_on_load();
}

}  // namespace ckptfs::libtorch
