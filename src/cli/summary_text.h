// SummaryText: what `ckptfs inspect` and `ckptfs verify` print.
#pragma once

#include <string>

#include "checkpoint/inspect/file_summary.h"
#include "checkpoint/inspect/verify_file.h"

namespace ckptfs::cli {

// For people: facts, then a table of the tensors. Nothing of a file can move
// the cursor of the terminal.
std::string SummaryText(const FileSummary& summary);

// For programs: one JSON object on one line; bytes of names that are no UTF-8
// come out as U+FFFD.
//   {"file": .., "kind": "torch.save"|"safetensors"|"dcp", "file_bytes": ..,
//    "format": {..}, "tensors": [{"name", "dtype", "shape", "bytes"}, ..],
//    "tensor_bytes": .., "stored_bytes": .., "others": [{"key", "value"}, ..],
//    "unsafe_globals": ["module.name", ..]}
std::string SummaryJson(const FileSummary& summary);

// One line for each damage, then the verdict.
std::string VerifyText(const VerifyReport& report);

}  // namespace ckptfs::cli
