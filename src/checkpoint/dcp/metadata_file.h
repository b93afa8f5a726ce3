// The `.metadata` of a DCP checkpoint: its bytes, within a limit, and what they
// say.
#pragma once

#include <ckptfs/checkpoint/dcp/metadata.h>

#include <stop_token>
#include <string>

#include "checkpoint/engine/engine_runtime.h"
#include "checkpoint/io/opened_file.h"

namespace ckptfs {

// On the runtime's strand. kTooLarge beyond 1 GiB. Errors name the file.
Task<Result<std::string>> DcpMetadataBytes(OpenedFile& file,
                                           std::stop_token stop);

// The same, parsed on the pool: also the errors of ParseDcpMetadata.
Task<Result<DcpMetadata>> ReadDcpMetadata(internal::EngineRuntime& runtime,
                                          OpenedFile file,
                                          std::stop_token stop);

}  // namespace ckptfs
