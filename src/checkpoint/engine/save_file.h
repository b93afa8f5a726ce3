// SaveFile: one file of known size, written by whoever knows its bytes, whole
// or not at all. What the saves of all formats go through.
#pragma once

#include <ckptfs/checkpoint/options.h>

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>

#include "checkpoint/engine/engine_runtime.h"
#include "checkpoint/io/byte_sink.h"

namespace ckptfs {

// Writes all parts of the file into the sink, in order, and does not commit.
// What it captures lives until the Task has ended.
using WriteParts =
    std::function<Task<Result<void>>(ByteSink& sink, std::stop_token stop)>;

// On the runtime's strand. When it ends with an error, nothing of the file is
// left, and the older one is untouched (but for kOutcomeUnknown). Errors name
// the path.
Task<Result<void>> SaveFile(internal::EngineRuntime& runtime, std::string path,
                            std::uint64_t size, WriteParts write_parts,
                            SaveOptions options);

}  // namespace ckptfs
