// InspectFile: the summary of a checkpoint file, from its headers alone.
#pragma once

#include <ckptfs/future.h>

#include <stop_token>
#include <string>

#include "checkpoint/engine/engine_runtime.h"
#include "checkpoint/inspect/file_summary.h"

namespace ckptfs {

// Which of the formats it is shows in the first bytes; a folder with .metadata
// is a DCP checkpoint. Fetches the first MiB, of a zip the last 256 KiB, and
// what of directory, pickle or header lies outside of them; of a DCP folder
// .metadata alone. Nothing of a pickle is run. On the runtime's strand. Errors,
// with the path: those of TorchFileReader::Open (all classes allowed),
// OpenSafetensors, InspectDcp and of the source; kInvalidArgument: none of the
// formats.
Task<Result<FileSummary>> InspectFile(internal::EngineRuntime& runtime,
                                      std::string path, std::stop_token stop);

}  // namespace ckptfs
