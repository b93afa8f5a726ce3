// SavePlannedFile: a torch.save file that is laid out, on its way to a path.
#pragma once

#include <ckptfs/checkpoint/options.h>

#include <string>

#include "checkpoint/engine/engine_runtime.h"
#include "checkpoint/torch_file/torch_file_writer.h"

namespace ckptfs {

// As SaveFile. The memory that the records point to stays as it is until the
// Task has ended.
Task<Result<void>> SavePlannedFile(internal::EngineRuntime& runtime,
                                   std::string path, TorchFileWriter writer,
                                   SaveOptions options);

}  // namespace ckptfs
