// OpenSafetensors: the header of a safetensors file.
#pragma once

#include <stop_token>

#include "checkpoint/io/opened_file.h"
#include "checkpoint/safetensors/safetensors_header.h"

namespace ckptfs {

// One request more for a header beyond the first MiB, none otherwise. `pool`
// parses. On the executor of the file, which outlives the Task. Errors: those
// of ParseSafetensorsLength and ParseSafetensorsHeader, with the file's name.
Task<Result<SafetensorsHeader>> OpenSafetensors(OpenedFile& file,
                                                Executor& pool,
                                                std::stop_token stop);

}  // namespace ckptfs
