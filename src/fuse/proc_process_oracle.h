// ProcProcessOracle: what /proc tells of the processes behind requests.
#pragma once

#include <ckptfs/executor.h>

#include <memory>
#include <string>

#include "fs/process_oracle.h"

namespace ckptfs::fuse {

// Thread-safe. Reads /proc on `work`, which outlives it and its answers. What
// cannot be seen (EPERM, hidepid, another pid namespace, gone) counts as an
// unknown, living process without other descriptors; that /proc is closed to us
// is logged once.
//
// Where pidfds have inode numbers of their own (Linux 6.9), these identify
// groups: unique while the machine runs, and readable in the middle of an
// execve.
class ProcProcessOracle final : public fs::ProcessOracle {
 public:
  struct Options {
    std::string proc_root = "/proc";
    bool use_pidfd = true;  // false: as on kernels before 6.9
  };

  explicit ProcProcessOracle(Executor& work);
  ProcProcessOracle(Executor& work, Options options);

  Future<fs::ProcessGroup> GroupOf(pid_t tid) override;
  // A descriptor that a process closes itself counts as closed by the living,
  // also if a signal kills the process while it waits in close(): the program
  // had finished with the file. Dying by a signal is the end of the thread in a
  // group whose exit code names a signal.
  Future<fs::FlushWitness> WitnessFlush(pid_t tid,
                                        fs::InodeNumber ino) override;
  Future<fs::GroupFate> FateOf(fs::ProcessGroup group) override;

 private:
  struct State;
  Executor& work_;
  const std::shared_ptr<State> state_;  // shared with posted work
};

}  // namespace ckptfs::fuse
