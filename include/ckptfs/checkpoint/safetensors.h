// safetensors files, in S3, in file systems and below mounts of ckptfs. Paths,
// threads and errors as in ckptfs/checkpoint/torch_file.h.
//
// The format is that of safetensors 0.8 (github.com/huggingface/safetensors,
// src/tensor.rs): a JSON header with names, dtypes, shapes and offsets, then
// the bytes of the tensors, row-major and packed. It knows neither shared
// storages nor checksums.
//
// All calls return at once, from any thread, and never throw; Get() waits for
// the result. The engine outlives the Future. kInvalidArgument: a damaged file,
// with the tensor's name. kUnsupported: a dtype that is not read here.
#pragma once

#include <ckptfs/checkpoint/options.h>
#include <ckptfs/checkpoint/tensor_view.h>
#include <ckptfs/engine.h>
#include <ckptfs/export.h>
#include <ckptfs/future.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace ckptfs {

struct SafetensorsFile {
  std::vector<std::pair<std::string, TensorView>> tensors;
  // The strings under __metadata__; {"format": "pt"} is what transformers
  // expects. Not written if empty.
  std::map<std::string, std::string> metadata;
};

// Writes one file that appears whole or not at all, byte for byte as
// safetensors.torch.save_file does: by falling alignment of the dtype, then by
// name. (It writes several entries of metadata in random order, this sorts
// them.) The memory of the tensors goes out uncopied: it must not change until
// the result is there. Tensors that share memory are written one by one.
// kInvalidArgument, with the name: a tensor that is not contiguous, as in
// safetensors, or not loaded; a name that appears twice or is no UTF-8.
// kUnsupported: a dtype that safetensors lacks (complex128, quantized ones).
CKPTFS_EXPORT Future<void> SaveSafetensors(Engine& engine, SafetensorsFile file,
                                           std::string path,
                                           SaveOptions options = {});

// Reads the header, mostly by the first request, then the bytes of the wanted
// tensors, in parallel ranges straight into memory of their own; neighbours
// travel in one range, and what the filter refuses is not fetched. In the order
// of the file. Of LoadOptions, those about pickles and checksums mean nothing
// here; map_location is asked with "cpu".
CKPTFS_EXPORT Future<SafetensorsFile> LoadSafetensors(Engine& engine,
                                                      std::string path,
                                                      LoadOptions options = {});

// Reads into the tensors of `into` (their storages loaded), which are matched
// by name; contiguous ones are filled straight from the network. Names, dtypes
// and shapes are compared first: on kInvalidArgument no tensor was touched.
// After another error (the network's, a cancellation) tensors hold anything.
// The report's value is a dict from name to tensor; metadata is not in it.
CKPTFS_EXPORT Future<LoadReport> LoadSafetensorsInto(
    Engine& engine, std::string path, std::map<std::string, TensorView> into,
    LoadIntoOptions options = {});

}  // namespace ckptfs
