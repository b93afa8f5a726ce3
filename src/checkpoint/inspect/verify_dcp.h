// VerifyDcp: whether all that the metadata of a DCP checkpoint name is there,
// and has its checksums.
#pragma once

#include <stop_token>

#include "checkpoint/engine/engine_runtime.h"
#include "checkpoint/inspect/verify_report.h"
#include "checkpoint/io/opened_file.h"

namespace ckptfs {

// `metadata`: the open file .metadata, named so. Reads every item of the data
// files, some at a time, in some 100 MiB at the most. Files and items that are
// missing, cut or not of torch.save are damages. On the runtime's strand.
// Errors: those of the sources and of ParseDcpMetadata; kUnsupported: items
// with transforms.
Task<Result<VerifyReport>> VerifyDcp(internal::EngineRuntime& runtime,
                                     OpenedFile metadata, std::stop_token stop);

}  // namespace ckptfs
