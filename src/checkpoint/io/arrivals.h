// Arrivals: adds up what arrives, for a progress callback.
#pragma once

#include <ckptfs/checkpoint/options.h>

#include <cstdint>
#include <functional>
#include <utility>

namespace ckptfs {

// To be called with every number of bytes that arrive, on one executor, of
// `total` in all. Empty if `progress` is.
inline std::function<void(std::uint64_t)> Arrivals(Progress progress,
                                                   std::uint64_t total) {
  if (!progress) return {};
  return [progress = std::move(progress), total,
          done = std::uint64_t{0}](std::uint64_t bytes) mutable {
    done += bytes;
    progress(done, total);
  };
}

}  // namespace ckptfs
