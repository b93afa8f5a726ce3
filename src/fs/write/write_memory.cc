#include "fs/write/write_memory.h"

#include <string>
#include <utility>

namespace ckptfs::fs {

std::optional<Reservation> WriteMemory::TryNow(std::uint64_t bytes) {
  while (true) {
    if (budget_.used() + bytes + kept_for_reads_ <= budget_.limit()) {
      std::optional<Reservation> r = budget_.TryReserve(bytes);
      if (r) return r;
    }
    const bool dropped =
        std::any_of(retainers_.begin(), retainers_.end(),
                    [](MemoryRetainer* r) { return r->DropRetained(); });
    if (!dropped) return std::nullopt;
  }
}

std::optional<Reservation> WriteMemory::Try(std::uint64_t bytes) {
  if (queue_.locked()) return std::nullopt;  // nobody overtakes
  return TryNow(bytes);
}

Task<Result<Reservation>> WriteMemory::Reserve(std::uint64_t bytes) {
  StrandMutex::Guard turn = co_await queue_.Lock();
  while (true) {
    std::optional<Reservation> r = TryNow(bytes);
    if (r) co_return std::move(*r);
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
