#include "checkpoint/tensors/host_memory.h"

#include <sys/mman.h>

#include <cstdlib>
#include <limits>
#include <string>

namespace ckptfs {

namespace {

constexpr std::size_t kTensorAlignment = 64;
constexpr std::size_t kHugePage = 2 << 20;  // x86-64 and arm64 with 4 KiB pages

}  // namespace

Result<HostMemory> AllocateHostMemory(std::uint64_t bytes) {
  const std::size_t alignment =
      bytes >= 2 * kHugePage ? kHugePage : kTensorAlignment;
  void* memory = nullptr;
  // A pointer difference must be able to hold the size.
  if (bytes <= std::numeric_limits<std::ptrdiff_t>::max() - alignment) {
    const auto rounded = (bytes + kTensorAlignment) & ~(kTensorAlignment - 1);
    if (posix_memalign(&memory, alignment, rounded) != 0) memory = nullptr;
  }
  if (memory == nullptr) {
    return Fail(ErrorCode::kResourceExhausted,
                "no memory for a tensor storage of " + std::to_string(bytes) +
                    " bytes");
  }
  if (alignment == kHugePage) {
    // A hint: without huge pages the memory is as good, but slower to touch.
    (void)madvise(memory, bytes & ~(kHugePage - 1), MADV_HUGEPAGE);
  }
  HostMemory out;
  out.bytes = {static_cast<std::byte*>(memory), bytes};
  out.owner = std::shared_ptr<void>(memory, std::free);
  return out;
}

}  // namespace ckptfs
