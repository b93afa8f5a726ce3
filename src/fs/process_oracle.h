// ProcessOracle: what fs must know of processes to tell close() from the other
// reasons for which the kernel sends FLUSH. Implemented over /proc in fuse,
// scripted in the simulation.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include <ckptfs/future.h>

#include "fs/types.h"

namespace ckptfs::fs {

// A thread group, as far as it could be told. The number alone names a group
// only while it lives; `id` tells it from a later one with the same number, and
// `kind` says what the id is, since ids of two kinds say nothing of each other.
struct ProcessGroup {
  enum class Kind {
    kUnknown,    // could not be seen: /proc closed, already gone. tgid and id
                 // mean nothing
    kInvisible,  // the kernel has no number for it (another pid namespace);
                 // said by fs, never by an oracle. All such groups are one
    kNumber,     // the number alone
    kStartTime,  // clock ticks since boot, field 22 of /proc/PID/stat
    kPidfd,      // inode number of its pidfd, unique while the machine runs
  };
  Kind kind = Kind::kUnknown;
  pid_t tgid = 0;
  std::uint64_t id = 0;

  static ProcessGroup Invisible() { return {Kind::kInvisible, 0, 0}; }
  // Has a number, and so can be asked about.
  bool known() const {
    return kind != Kind::kUnknown && kind != Kind::kInvisible;
  }
  // Whether the two may be one group. What cannot be told counts as yes: a
  // writer must never be taken for a stranger.
  friend bool MayBeSame(const ProcessGroup& a, const ProcessGroup& b) {
    if (a.kind == Kind::kUnknown || b.kind == Kind::kUnknown) return true;
    if (a.kind == Kind::kInvisible || b.kind == Kind::kInvisible) {
      return a.kind == b.kind;
    }
    if (a.tgid != b.tgid) return false;
    return a.kind != b.kind || a.id == b.id;
  }
  friend bool operator==(const ProcessGroup&, const ProcessGroup&) = default;
};

// The state of the group that sent a FLUSH, seen while the flush is served.
struct FlushWitness {
  ProcessGroup group;
  // The group is being ended by a signal (SIGKILL, SIGSEGV, ...). Read from the
  // exit code, not from PF_SIGNALED. What cannot be seen counts as living.
  bool dying_by_signal = false;
  // The group has another descriptor of the file, open for writing. What cannot
  // be seen counts as no: the close at hand may be the last one.
  bool has_other_writable_descriptor = false;
};

// What has become of a group.
enum class GroupFate {
  kLiving,  // at least one thread runs; also where it cannot be told
  kEnding,  // it ends or has ended, or its number belongs to another group now
};

// Thread-safe. The calls read /proc on the work pool and never touch the mount;
// they never fail: what cannot be seen is said as above.
class ProcessOracle {
 public:
  virtual ~ProcessOracle() = default;
  // The group of thread `tid`, which waits for a reply of ours.
  virtual Future<ProcessGroup> GroupOf(pid_t tid) = 0;
  virtual Future<FlushWitness> WitnessFlush(pid_t tid, InodeNumber ino) = 0;
  // Of a group that GroupOf or WitnessFlush named.
  virtual Future<GroupFate> FateOf(ProcessGroup group) = 0;
};

}  // namespace ckptfs::fs
