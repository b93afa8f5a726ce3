#include "fs/write/write_memory.h"

#include <string>
#include <utility>

namespace ckptfs::fs {

std::optional<Reservation> WriteMemory::Try(std::uint64_t bytes) {
  if (queue_.locked()) return std::nullopt;  // nobody overtakes
  while (true) {
    std::optional<Reservation> r = budget_.TryReserve(bytes);
    if (r) return r;
    bool dropped = false;
    for (MemoryRetainer* retainer : retainers_) {
      if (retainer->DropRetained()) {
        dropped = true;
        break;
      }
    }
    if (!dropped) return std::nullopt;
  }
}

Task<Result<Reservation>> WriteMemory::Reserve(std::uint64_t bytes) {
  std::optional<Reservation> at_once = Try(bytes);
  if (at_once) co_return std::move(*at_once);
  StrandMutex::Guard turn = co_await queue_.Lock();
  while (true) {
    std::optional<Reservation> r = budget_.TryReserve(bytes);
    if (r) co_return std::move(*r);
    bool dropped = false;
    for (MemoryRetainer* retainer : retainers_) {
      if (retainer->DropRetained()) {
        dropped = true;
        break;
      }
    }
    if (dropped) continue;
    if (transfers_ == 0) {
      co_return Fail(
          ErrorCode::kResourceExhausted,
          "the memory limit of " + std::to_string(budget_.limit()) +
              " bytes is taken by unfinished files and no upload is under way "
              "that would free some; raise --memory-limit or keep fewer files "
              "open for writing");
    }
    co_await freed_.Wait();
  }
}

void WriteMemory::TransferEnded() {
  --transfers_;
  freed_.NotifyAll();
}

void WriteMemory::AddRetainer(MemoryRetainer* retainer) {
  retainers_.push_back(retainer);
}

void WriteMemory::RemoveRetainer(MemoryRetainer* retainer) {
  retainers_.remove(retainer);
}

}  // namespace ckptfs::fs
