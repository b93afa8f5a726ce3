// VerifyFile: whether a checkpoint file is whole, as far as its format tells.
#pragma once

#include <stop_token>
#include <string>

#include "checkpoint/engine/engine_runtime.h"
#include "checkpoint/inspect/verify_report.h"

namespace ckptfs {

// torch.save: reads all of the file, in order, some 64 MiB ahead at the most,
// and compares every record with its checksum. DCP: likewise every item that
// the metadata name. safetensors: fetches the header and compares it with the
// size of the file. On the runtime's strand. Errors, with the path: those of
// the source; kInvalidArgument: no directory, header or metadata to begin with,
// as after a truncation. kUnsupported: torch before 1.6, DCP with transforms.
Task<Result<VerifyReport>> VerifyFile(internal::EngineRuntime& runtime,
                                      std::string path, std::stop_token stop);

}  // namespace ckptfs
