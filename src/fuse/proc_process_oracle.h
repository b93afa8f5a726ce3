// ProcProcessOracle: what /proc tells of the processes behind requests.
#pragma once

#include <sys/types.h>

#include <ckptfs/executor.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "fs/process_oracle.h"
#include "fuse/proc_files.h"

namespace ckptfs::fuse {

// Thread-safe. Reads /proc on `work`, which outlives it and its answers. What
// cannot be seen (EPERM, hidepid, another pid namespace, no descriptor left,
// gone) counts as an unknown, living process without other descriptors; that
// /proc is closed to us is logged once.
//
// Where pidfds have inode numbers of their own (Linux 6.9), these identify
// groups: unique while the machine runs, and readable in the middle of an
// execve. Elsewhere it is the start time; where neither can be had at the
// moment, the number alone.
class ProcProcessOracle final : public fs::ProcessOracle {
 public:
  // pidfd_open(2) without flags.
  using PidfdOpenCall = std::function<int(pid_t)>;

  // Other values than these are for tests.
  struct Options {
    std::string proc_root = "/proc";
    OpenAtCall open_at = &OpenAtForReading;
    PidfdOpenCall pidfd_open = &OpenPidfd;
    // How long the descriptors of a group are looked through. A million of them
    // take seconds, in which a close() waits.
    std::chrono::milliseconds scan_limit{500};
    // How long a stat file is waited for that an execve may keep from us.
    std::chrono::milliseconds stat_limit{100};
  };
  static int OpenPidfd(pid_t tgid);

  explicit ProcProcessOracle(Executor& work);
  ProcProcessOracle(Executor& work, Options options);

  Future<fs::ProcessGroup> GroupOf(pid_t tid) override;
  // A descriptor that a process closes itself counts as closed by the living,
  // also if a signal kills the process while it waits in close(): the program
  // had finished with the file. Dying by a signal is the end of the thread, if
  // the thread's own exit code or that of its group names a signal.
  Future<fs::FlushWitness> WitnessFlush(pid_t tid,
                                        fs::InodeNumber ino) override;
  // kEnding: the kernel knows no such process; or its number is another's now;
  // or none of its threads has memory any more, as is the case from early in
  // exit(2) on.
  Future<fs::GroupFate> FateOf(fs::ProcessGroup group) override;

 private:
  struct State;
  Executor& work_;
  const std::shared_ptr<State> state_;  // shared with posted work
};

}  // namespace ckptfs::fuse
