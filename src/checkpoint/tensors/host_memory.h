// HostMemory: memory for the bytes of storages.
#pragma once

#include <ckptfs/result.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace ckptfs {

struct HostMemory {
  std::span<std::byte> bytes;
  std::shared_ptr<void> owner;
};

// Not initialised; aligned to 64 bytes, as torch aligns tensors; in huge pages
// where it is large, since a load touches all of it at once.
// kResourceExhausted.
Result<HostMemory> AllocateHostMemory(std::uint64_t bytes);

}  // namespace ckptfs
