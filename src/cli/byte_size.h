// Sizes as people write them: 512MiB, 1GiB, 8388608.
#pragma once

#include <ckptfs/result.h>

#include <cstdint>
#include <string_view>

namespace ckptfs::cli {

// A whole number with an optional suffix KiB, MiB, GiB or TiB (K, M, G and T
// mean the same). kInvalidArgument otherwise, also on overflow.
Result<std::uint64_t> ParseByteSize(std::string_view text);

}  // namespace ckptfs::cli
