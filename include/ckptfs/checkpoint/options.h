// What saves and loads of every format have in common. The functions in options
// must not throw: the process would end.
#pragma once

#include <ckptfs/checkpoint/value.h>
#include <ckptfs/object_store.h>

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

namespace ckptfs {

// Bytes that have arrived where they go (in S3, on disk, in the tensors) of
// those that will. Called in order, on a thread of the engine: return soon, and
// call nothing that waits for the engine. Never called after the operation has
// ended.
using Progress = std::function<void(std::uint64_t done, std::uint64_t total)>;

struct SaveOptions {
  // On what is replaced, e.g. if_none_match: only if there is nothing yet;
  // kPreconditionFailed if it does not hold.
  WriteCondition condition;
  // kCancelled; nothing of the save is left, and the older file stays, unless
  // the request came while the last step was already under way.
  std::stop_token stop;
  Progress progress;
};

struct LoadOptions {
  // Classes outside of what torch.load(weights_only=True) allows are an error;
  // otherwise they come out as Objects. Nothing of a file is ever run. Formats
  // without pickles ignore both.
  bool weights_only = true;
  std::vector<Global> safe_globals;  // allowed besides
  // Tensors to fetch, by name (tensor_names.h); empty: all. The others come out
  // with shape and dtype, but without memory, and their bytes are not fetched.
  std::function<bool(std::string_view name)> filter;
  // Compares the checksums of records that are read as a whole: kDataLoss.
  // Formats without checksums ignore it.
  bool verify_crc = false;
  // The device a storage is to be on, from the one it was saved from, as torch
  // names them ("cuda:0" -> "cpu"): becomes Storage::location. Empty: "cpu".
  // The bytes are in host memory in any case.
  std::function<std::string(std::string_view location)> map_location;
  std::stop_token stop;  // kCancelled
  Progress progress;
};

// What became of a load into tensors that exist.
struct LoadReport {
  // Names that `into` has and the file has not, and the other way round;
  // sorted. Both empty after a strict load.
  std::vector<std::string> missing;
  std::vector<std::string> unexpected;
  // The values of the file. Tensors that were loaded are those of `into`;
  // unexpected ones are without memory. Storages that are in no tensor (those
  // of quantized ones) are loaded into memory of their own.
  Value value;
};

struct LoadIntoOptions {
  LoadOptions load;
  // Missing or unexpected names are an error, before any tensor is touched.
  // Names that load.filter refuses count as neither.
  bool strict = true;
};

}  // namespace ckptfs
