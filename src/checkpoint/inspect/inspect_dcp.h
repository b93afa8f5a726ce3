// InspectDcp: the summary of a DCP checkpoint, by its .metadata.
#pragma once

#include <stop_token>
#include <string>

#include "checkpoint/engine/engine_runtime.h"
#include "checkpoint/inspect/file_summary.h"
#include "checkpoint/io/opened_file.h"

namespace ckptfs {

// `metadata`: the open file .metadata, named so. The data files are not looked
// at. On the runtime's strand. Errors: those of ParseDcpMetadata and
// DcpMetadataBytes.
Task<Result<FileSummary>> InspectDcp(internal::EngineRuntime& runtime,
                                     OpenedFile metadata, std::stop_token stop);

// The name of the folder that it is in.
std::string DcpFolderOf(const OpenedFile& metadata);

}  // namespace ckptfs
