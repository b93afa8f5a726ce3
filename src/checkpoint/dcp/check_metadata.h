// CheckDcpMetadata: what must hold of metadata before anybody acts on them,
// wherever they come from.
#pragma once

#include <ckptfs/checkpoint/dcp/metadata.h>
#include <ckptfs/result.h>

#include <cstdint>
#include <string_view>

namespace ckptfs {

// Relative, without `..`, `.`, empty components and NUL.
bool StaysInFolder(std::string_view relative_path);

// Elements of a box; kInvalidArgument: negative sizes, an overflow.
Result<std::int64_t> Volume(const DcpSizes& sizes);

// Chunks inside of the tensor, none over another. Errors name the chunk.
Result<void> CheckChunks(const DcpTensorMetadata& tensor);

// The errors of ParseDcpMetadata.
Result<void> CheckDcpMetadata(const DcpMetadata& metadata);

}  // namespace ckptfs
