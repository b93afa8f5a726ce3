// Checkpoints of PyTorch Distributed Checkpoint (DCP): a folder with the files
// of all ranks and a `.metadata`. What is written here is loaded by
// torch.distributed.checkpoint.load of torch 2.13, and the other way round.
//
//   ckptfs::SaveDcp(engine, state, "s3://bucket/run/step-100").Get();
//   ckptfs::LoadDcp(engine, "s3://bucket/run/step-100", state).Get();
//
// A state is a dict. As in torch, dicts are entered (keys become str), lists
// where they hold a tensor, a dict or such a list; everything else is a value
// of its own. The name (fqn) of a value is its path, joined by dots. A tensor
// is a TensorView, a Parameter or a ShardedTensor (sharded_tensor.h).
//
// Calls return at once, from any thread, and never throw. The engine and the
// coordination outlive the Future. With several ranks every one makes the call;
// an error of one is the result of all, with the rank in its message.
#pragma once

#include <ckptfs/checkpoint/dcp/coordination.h>
#include <ckptfs/checkpoint/dcp/prefix_strategy.h>
#include <ckptfs/checkpoint/options.h>
#include <ckptfs/checkpoint/value.h>
#include <ckptfs/engine.h>
#include <ckptfs/export.h>
#include <ckptfs/future.h>

#include <memory>
#include <string>
#include <vector>

namespace ckptfs {

struct DcpSaveOptions {
  // Null: this process alone.
  Coordination* coordination = nullptr;
  // As in DcpWriterOptions.
  int thread_count = 1;
  std::shared_ptr<const DcpPrefixStrategy> prefixes;
  bool overwrite = true;
  std::stop_token stop;  // kCancelled, on all ranks
  Progress progress;     // of this rank's data files
};

// Writes the state. Tensors and values that several ranks have are written
// once, by the rank with the fewest bytes to write. Until `.metadata` is there,
// as the last step, the folder holds the older checkpoint, complete; on an
// error it still does (kOutcomeUnknown: the reply to that step was lost, so
// that it holds the old or the new one). Tensor memory goes out uncopied and
// must not change until the result is there. kInvalidArgument, with the fqn:
// two values of one name, keys that are neither str nor int nor bool nor None,
// shards that overlap or do not cover their tensor, ranks that disagree on a
// shape or dtype. kAlreadyExists: see overwrite. Two saves into one folder at a
// time are not supported.
CKPTFS_EXPORT Future<void> SaveDcp(Engine& engine, Value state,
                                   std::string path,
                                   DcpSaveOptions options = {});

struct DcpLoadOptions {
  // Null: this process alone.
  Coordination* coordination = nullptr;
  // Names that the state has and the checkpoint has not are reported instead of
  // being an error.
  bool allow_partial_load = false;
  // filter: by fqn; what it refuses is not fetched. Without a state such
  // tensors come out without memory, and such values not at all.
  LoadOptions load;
};

struct DcpLoadReport {
  // Names that the state has and the checkpoint has not, and the other way
  // round; sorted.
  std::vector<std::string> missing;
  std::vector<std::string> unexpected;
};

// Loads into `state`: its tensors are filled in place, in whatever shards they
// are; its other values are replaced in their dicts and lists. Names, dtypes,
// shapes and that all of it was saved are checked first, on all ranks: on
// kInvalidArgument from that nothing was touched.
CKPTFS_EXPORT Future<DcpLoadReport> LoadDcp(Engine& engine, std::string path,
                                            Value state,
                                            DcpLoadOptions options = {});

// The whole state, nested as it was saved; lists as lists, dicts as dicts with
// str keys. Tensors are whole, in memory of their own.
CKPTFS_EXPORT Future<Value> LoadDcp(Engine& engine, std::string path,
                                    DcpLoadOptions options = {});

}  // namespace ckptfs
