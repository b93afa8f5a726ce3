// VerifyZip: compares every record of a torch.save file with its checksum.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stop_token>
#include <vector>

#include "checkpoint/engine/engine_runtime.h"
#include "checkpoint/inspect/zip_verifier.h"
#include "checkpoint/io/opened_file.h"

namespace ckptfs {

struct ZipCheck {
  std::uint64_t records = 0;
  std::vector<Damage> damages;     // the first ones
  std::uint64_t damage_count = 0;  // of all
};

// Reads all of the file, in order, `blocks_ahead` of 8 MiB at the most. On the
// runtime's strand. Errors: those of the source; kInvalidArgument: no directory
// to begin with, as after a truncation. kUnsupported: torch before 1.6.
Task<Result<ZipCheck>> VerifyZip(internal::EngineRuntime& runtime,
                                 OpenedFile file, std::size_t blocks_ahead,
                                 std::stop_token stop);

}  // namespace ckptfs
