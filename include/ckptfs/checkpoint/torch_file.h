// Files of torch.save, in S3, in file systems and below mounts of ckptfs.
//
//   ckptfs::Engine engine;
//   ckptfs::Result<ckptfs::Value> checkpoint =
//       ckptfs::LoadTorchFile(engine, "s3://bucket/run/last.ckpt").Get();
//
// Paths: s3://bucket/key, file:///path, or a plain path. A plain path below a
// mount of ckptfs is taken in S3 directly where the engine has credentials for
// it and the mount has the file neither open nor unpublished.
//
// The format is that of torch 2.13 (torch/serialization.py); what it writes is
// read by torch.load(weights_only=True) if the values are such that
// weights_only allows, and files of every torch since 1.6 are read.
//
// All calls return at once, from any thread, and never throw; Get() waits for
// the result. The engine outlives the Future. Errors name the file and, where
// it is damaged, the record and offset: kInvalidArgument. kNotFound: no such
// file. kUnsupported: an older format, by name.
#pragma once

#include <ckptfs/checkpoint/options.h>
#include <ckptfs/checkpoint/value.h>
#include <ckptfs/engine.h>
#include <ckptfs/export.h>
#include <ckptfs/future.h>

#include <string>

namespace ckptfs {

// Writes `value` as one file that appears whole or not at all; on an error the
// older file stays, and nothing else is left (kOutcomeUnknown: the reply to the
// last request was lost, so that the file is either the old or the new one).
// The memory of the storages goes out uncopied: it must not change, nor any
// container of `value`, until the result is there.
CKPTFS_EXPORT Future<void> SaveTorchFile(Engine& engine, Value value,
                                         std::string path,
                                         SaveOptions options = {});

// Reads the values, then the bytes of the tensors, in parallel ranges straight
// into the memory of their storages. Tensors that share a storage in the file
// share it here. Where a filter leaves out some tensors of a storage, the
// others' storage holds only what lies between the first and the last wanted
// byte.
CKPTFS_EXPORT Future<Value> LoadTorchFile(Engine& engine, std::string path,
                                          LoadOptions options = {});

// Reads into the tensors of `into` (their storages loaded), which are matched
// by name; contiguous ones are filled straight from the network. Names, dtypes
// and shapes are compared first: on kInvalidArgument no tensor was touched.
// After another error (the network's, a cancellation) tensors hold anything.
CKPTFS_EXPORT Future<LoadReport> LoadTorchFileInto(
    Engine& engine, std::string path, Value into, LoadIntoOptions options = {});

}  // namespace ckptfs
