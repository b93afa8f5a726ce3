// VerifyFile: whether a checkpoint file is whole, as far as its format tells.
#pragma once

#include <ckptfs/future.h>

#include <cstdint>
#include <stop_token>
#include <string>
#include <vector>

#include "checkpoint/engine/engine_runtime.h"
#include "checkpoint/inspect/file_summary.h"
#include "checkpoint/inspect/zip_verifier.h"

namespace ckptfs {

struct VerifyReport {
  std::string name;
  FileSummary::Kind kind = FileSummary::Kind::kTorchSave;
  std::uint64_t file_bytes = 0;
  std::uint64_t parts = 0;  // records of a zip, tensors of safetensors
  // Compared with their checksums; false: the format has none, and the sizes
  // alone were compared.
  bool checksums = false;
  std::vector<Damage> damages;     // the first ones
  std::uint64_t damage_count = 0;  // of all
};

// torch.save: reads all of the file, in order, some 64 MiB ahead at the most,
// and compares every record with its checksum. safetensors: fetches the header
// and compares it with the size of the file. On the runtime's strand. Errors,
// with the path: those of the source; kInvalidArgument: no directory or header
// to begin with, as after a truncation. kUnsupported: torch before 1.6, DCP
// folders.
Task<Result<VerifyReport>> VerifyFile(internal::EngineRuntime& runtime,
                                      std::string path, std::stop_token stop);

}  // namespace ckptfs
