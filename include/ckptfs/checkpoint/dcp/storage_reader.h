// DcpStorageReader: the storage side of a DCP load, in DCP's call order (torch
// 2.13, torch/distributed/checkpoint/storage.py), on every rank:
//
//   Reset, ReadMetadata, SetUp, PrepareLocalPlan, [rank 0: PrepareGlobalPlan,]
//   ReadData
//
// LoadDcp (dcp/checkpoint.h) makes these calls.
#pragma once

#include <ckptfs/checkpoint/dcp/plan.h>
#include <ckptfs/checkpoint/options.h>
#include <ckptfs/engine.h>
#include <ckptfs/export.h>
#include <ckptfs/future.h>

#include <memory>
#include <string>
#include <vector>

namespace ckptfs {

// Calls return at once; one at a time. The object outlives their Futures.
class CKPTFS_EXPORT DcpStorageReader {
 public:
  virtual ~DcpStorageReader() = default;

  // A new load; `checkpoint_id`, unless empty, is its folder.
  virtual void Reset(std::string checkpoint_id) = 0;
  // kNotFound: there is no checkpoint. The errors of ParseDcpMetadata.
  virtual Future<DcpMetadata> ReadMetadata() = 0;
  virtual void SetUp(DcpMetadata metadata, bool is_coordinator) = 0;
  virtual Result<DcpLoadPlan> PrepareLocalPlan(DcpLoadPlan plan) = 0;
  virtual Result<std::vector<DcpLoadPlan>> PrepareGlobalPlan(
      std::vector<DcpLoadPlan> plans) = 0;
  // Fills the tensors and hands out the values; `planner` lives until the
  // result is there. Of a stored chunk only the rows that are wanted are
  // fetched, straight into contiguous memory. After an error the tensors hold
  // anything.
  // kInvalidArgument, with the fqn, file and offset: an item that is not
  // stored, or is not what the metadata say. kUnsupported: items with
  // transforms, by name. kDataLoss: see LoadOptions::verify_crc.
  virtual Future<void> ReadData(DcpLoadPlan plan,
                                std::shared_ptr<DcpLoadPlanner> planner) = 0;
};

// From any path that LoadTorchFile takes. Of the options, filter and
// map_location act on the values (kBytes items) alone. The engine outlives it.
CKPTFS_EXPORT std::unique_ptr<DcpStorageReader> MakeDcpStorageReader(
    Engine& engine, std::string path, LoadOptions options = {});

}  // namespace ckptfs
