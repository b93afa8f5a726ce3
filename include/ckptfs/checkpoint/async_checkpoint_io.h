// AsyncCheckpointIO: saves in the background, from a snapshot, and removals
// behind them.
#pragma once

#include <ckptfs/checkpoint/checkpoint_io.h>
#include <ckptfs/export.h>

#include <cstdint>
#include <memory>
#include <string>

namespace ckptfs {

struct AsyncCheckpointOptions {
  // Snapshots that may exist at once, in bytes of tensors. A save that does not
  // fit waits for earlier ones; one that is larger than this waits for all.
  std::uint64_t max_snapshot_bytes = 16ull << 30;
};

// SaveCheckpoint copies the values and their tensors, then returns; the saves
// go through `inner` one after the other, in the order of the calls.
//
// No error is lost: one that a background save or removal ends with is returned
// by the next SaveCheckpoint (which then saves nothing), LoadCheckpoint (loads
// nothing), RemoveCheckpoint (removes nothing) or Teardown, with the path in
// its message; several become one, with the code of the oldest. What is left at
// destruction is logged.
//
// From a failure until it was returned nothing is removed: what would go may be
// the last good checkpoint. A removal takes its turn behind the saves that were
// asked for before, in the background, and does not happen if one of them
// failed (kCancelled, after that failure); with nothing under way it is done at
// once. "Save the new one, remove the old one" so leaves one of them.
//
// LoadCheckpoint waits for the saves and removals of its path that were asked
// for before; RemoveCheckpoint of a path that is being saved waits for that and
// the removal. Thread-safe. Not to be used in a process that was forked off.
class CKPTFS_EXPORT AsyncCheckpointIO final : public CheckpointIO {
 public:
  explicit AsyncCheckpointIO(std::unique_ptr<CheckpointIO> inner,
                             AsyncCheckpointOptions options = {});
  // Waits for all saves and removals.
  ~AsyncCheckpointIO() override;

  using CheckpointIO::LoadCheckpoint;
  using CheckpointIO::SaveCheckpoint;
  // kResourceExhausted: no memory for the snapshot. storage_options.progress
  // and .stop act on the background save.
  Result<void> SaveCheckpoint(const Value& checkpoint, const std::string& path,
                              const SaveOptions& storage_options) override;
  Result<Value> LoadCheckpoint(const std::string& path,
                               const CheckpointLoadOptions& options) override;
  Result<void> RemoveCheckpoint(const std::string& path) override;
  Result<void> Teardown() override;
  bool requires_state_on_load() const override;

 private:
  class Queue;
  const std::unique_ptr<Queue> queue_;
};

}  // namespace ckptfs
