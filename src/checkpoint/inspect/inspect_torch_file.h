// InspectTorchFile: the summary of a torch.save file.
#pragma once

#include <stop_token>

#include "checkpoint/engine/engine_runtime.h"
#include "checkpoint/inspect/file_summary.h"
#include "checkpoint/io/opened_file.h"

namespace ckptfs {

// Errors: those of TorchFileReader::Open. On the runtime's strand.
Task<Result<FileSummary>> InspectTorchFile(internal::EngineRuntime& runtime,
                                           OpenedFile file,
                                           std::stop_token stop);

}  // namespace ckptfs
