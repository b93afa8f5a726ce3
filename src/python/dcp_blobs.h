// ReadBlobs: items of data files whose bytes are wanted as they are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "checkpoint/engine/engine_runtime.h"
#include "common/task.h"

namespace ckptfs::python {

struct DcpBlob {
  std::string path;
  std::uint64_t offset = 0;
  std::span<std::byte> memory;  // as long as the item
};

// On the runtime's strand. Fills the memory, which `owner` keeps alive.
// kInvalidArgument: a file ends before an item does.
Task<Result<void>> ReadBlobs(internal::EngineRuntime& runtime,
                             std::vector<DcpBlob> blobs,
                             std::shared_ptr<void> owner, std::stop_token stop);

}  // namespace ckptfs::python
