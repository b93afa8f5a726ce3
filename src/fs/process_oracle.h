// ProcessOracle: what fs must know of processes to tell close() from the other
// reasons for which the kernel sends FLUSH. Implemented over /proc in fuse,
// scripted in the simulation.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>

#include <ckptfs/future.h>

#include "fs/types.h"

namespace ckptfs::fs {

// A thread group; the start time (clock ticks since boot, field 22 of
// /proc/PID/stat) tells it from a later one with the same number.
struct ProcessGroup {
  pid_t tgid = 0;  // 0: unknown (other pid namespace, already gone)
  std::uint64_t start_time = 0;
  bool known() const { return tgid != 0; }
  friend auto operator<=>(const ProcessGroup&, const ProcessGroup&) = default;
};

// The state of the group that sent a FLUSH, seen while the flush is served.
struct FlushWitness {
  ProcessGroup group;
  // The group is being ended by a signal (SIGKILL, SIGSEGV, ...). Read from the
  // exit code, not from PF_SIGNALED. What cannot be seen counts as living.
  bool dying_by_signal = false;
  // The group has another descriptor of the file, open for writing.
  bool has_other_writable_descriptor = false;
};

// Thread-safe. Both calls read /proc on the work pool and never touch the
// mount.
class ProcessOracle {
 public:
  virtual ~ProcessOracle() = default;
  // The group of thread `tid`; unknown if it cannot be told. Never fails.
  virtual Future<ProcessGroup> GroupOf(pid_t tid) = 0;
  virtual Future<FlushWitness> WitnessFlush(pid_t tid, InodeNumber ino) = 0;
};

}  // namespace ckptfs::fs

template <>
struct std::hash<ckptfs::fs::ProcessGroup> {
  std::size_t operator()(const ckptfs::fs::ProcessGroup& g) const noexcept {
    return std::hash<std::uint64_t>()(
        (static_cast<std::uint64_t>(g.tgid) << 40) ^ g.start_time);
  }
};
