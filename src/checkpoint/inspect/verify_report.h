// VerifyReport: what a look at a whole checkpoint has found.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoint/inspect/file_summary.h"
#include "checkpoint/inspect/zip_verifier.h"

namespace ckptfs {

struct VerifyReport {
  std::string name;
  FileSummary::Kind kind = FileSummary::Kind::kTorchSave;
  std::uint64_t file_bytes = 0;
  // Records of a zip, tensors of safetensors, records of all items of DCP.
  std::uint64_t parts = 0;
  // Compared with their checksums; false: the format has none, and the sizes
  // alone were compared.
  bool checksums = false;
  std::vector<Damage> damages;     // the first ones
  std::uint64_t damage_count = 0;  // of all
};

}  // namespace ckptfs
