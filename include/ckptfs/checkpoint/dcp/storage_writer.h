// DcpStorageWriter: the storage side of a DCP save, in DCP's call order (torch
// 2.13, torch/distributed/checkpoint/storage.py):
//
//   every rank:   Reset, SetUp, PrepareLocalPlan
//   rank 0:       PrepareGlobalPlan, over the plans of all ranks
//   every rank:   WriteData
//   rank 0:       Finish, over the results of all ranks
//
// SaveDcp (dcp/checkpoint.h) makes these calls.
#pragma once

#include <ckptfs/checkpoint/dcp/plan.h>
#include <ckptfs/checkpoint/dcp/prefix_strategy.h>
#include <ckptfs/engine.h>
#include <ckptfs/export.h>
#include <ckptfs/future.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

namespace ckptfs {

struct DcpWriterOptions {
  // Data files per rank, written side by side; fewer where there are fewer
  // items. At least 1.
  int thread_count = 1;
  // Null: DefaultDcpPrefixes(). Taken on rank 0 alone.
  std::shared_ptr<const DcpPrefixStrategy> prefixes;
  // Whether a checkpoint that is there may be replaced; kAlreadyExists
  // otherwise. It is replaced in one step: the new data files get other names
  // (a part of the save's id joins the prefix), and `.metadata` comes last.
  // Data files that nothing refers to any more are left where they are.
  bool overwrite = true;
  std::stop_token stop;  // kCancelled
  // Of this rank's data files; see Progress in options.h.
  std::function<void(std::uint64_t done, std::uint64_t total)> progress;
};

// Calls return at once; one at a time. The object outlives their Futures.
class CKPTFS_EXPORT DcpStorageWriter {
 public:
  virtual ~DcpStorageWriter() = default;

  // A new save; `checkpoint_id`, unless empty, is its folder.
  virtual void Reset(std::string checkpoint_id) = 0;
  virtual void SetUp(bool is_coordinator) = 0;
  // Makes the folder.
  virtual Future<DcpSavePlan> PrepareLocalPlan(DcpSavePlan plan) = 0;
  // Gives every plan its prefix. kAlreadyExists: see overwrite.
  virtual Future<std::vector<DcpSavePlan>> PrepareGlobalPlan(
      std::vector<DcpSavePlan> plans) = 0;
  // Writes the files of this rank, each whole or not at all; `planner` lives
  // until the result is there. On an error none of them is left.
  virtual Future<std::vector<DcpWriteResult>> WriteData(
      DcpSavePlan plan, std::shared_ptr<DcpSavePlanner> planner) = 0;
  // Writes `.metadata`, in one step and last of all, which makes the checkpoint
  // complete. kAlreadyExists: one has appeared meanwhile, without overwrite.
  virtual Future<void> Finish(
      DcpMetadata metadata,
      std::vector<std::vector<DcpWriteResult>> results) = 0;
  // Removes the files of a save that was given up before Finish.
  virtual Future<void> Abandon(std::vector<DcpWriteResult> results) = 0;
};

// At any path that SaveTorchFile takes. The engine outlives it.
CKPTFS_EXPORT std::unique_ptr<DcpStorageWriter> MakeDcpStorageWriter(
    Engine& engine, std::string path, DcpWriterOptions options = {});

}  // namespace ckptfs
