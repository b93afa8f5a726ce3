// OpenCheckpointFile: a file, and which of the formats it has.
#pragma once

#include <stop_token>
#include <string>

#include "checkpoint/engine/engine_runtime.h"
#include "checkpoint/inspect/file_summary.h"
#include "checkpoint/io/opened_file.h"

namespace ckptfs {

struct CheckpointFile {
  OpenedFile file;  // of a DCP folder, its .metadata
  FileSummary::Kind kind;
};

// By the first bytes: a zip, or what torch wrote before zips, is taken for
// torch.save's, a plausible length and a brace for safetensors. A folder, or a
// prefix in S3, with a file .metadata is DCP's. One request; two for a folder.
// kInvalidArgument: none of them. kNotFound: no such file.
Task<Result<CheckpointFile>> OpenCheckpointFile(
    internal::EngineRuntime& runtime, std::string path, std::stop_token stop);

}  // namespace ckptfs
