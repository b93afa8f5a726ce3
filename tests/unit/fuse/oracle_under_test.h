// The process oracle on one thread, asked in turn, and ways to make it fail:
// what its tests share.
#pragma once

#include <gtest/gtest.h>

#include <cerrno>
#include <string>
#include <utility>

#include "common/executors.h"
#include "fuse/proc_process_oracle.h"

namespace ckptfs::fuse {

using Kind = fs::ProcessGroup::Kind;
using OracleOptions = ProcProcessOracle::Options;

// An oracle with what it needs, asked in turn.
class Oracle {
 public:
  explicit Oracle(OracleOptions options = {})
      : oracle_(work_, std::move(options)) {}
  fs::ProcessGroup GroupOf(pid_t tid) {
    return oracle_.GroupOf(tid).Get().value();
  }
  fs::FlushWitness Witness(pid_t tid, fs::InodeNumber ino = {}) {
    return oracle_.WitnessFlush(tid, ino).Get().value();
  }
  fs::GroupFate FateOf(const fs::ProcessGroup& group) {
    return oracle_.FateOf(group).Get().value();
  }

 private:
  ThreadPool work_{"witness", 1};
  ProcProcessOracle oracle_;
};

inline int FailWith(int error) {
  errno = error;
  return -1;
}

inline OracleOptions PidfdFails(int error) {
  OracleOptions options;
  options.pidfd_open = [error](pid_t) { return FailWith(error); };
  return options;
}

// Of paths that hold `part`.
inline OracleOptions OpenFails(const std::string& part, int error) {
  OracleOptions options;
  options.open_at = [part, error](int directory, const char* path) {
    return std::string(path).find(part) == std::string::npos
               ? OpenAtForReading(directory, path)
               : FailWith(error);
  };
  return options;
}

inline void ExpectUnseen(const fs::FlushWitness& witness) {
  EXPECT_FALSE(witness.group.known());
  EXPECT_FALSE(witness.dying_by_signal);
  EXPECT_FALSE(witness.has_other_writable_descriptor);
}

}  // namespace ckptfs::fuse
