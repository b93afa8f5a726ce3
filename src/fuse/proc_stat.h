// What /proc tells of a thread; see proc_pid_stat(5).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ckptfs::fuse {

// The fields of a stat file that the process oracle needs.
struct ProcStat {
  char state = '?';              // field 3
  std::uint64_t start_time = 0;  // field 22
  int exit_code = 0;             // field 52; 0 where it is not permitted
};

// nullopt if the text is no stat file.
std::optional<ProcStat> ParseProcStat(std::string_view text);

// What a status file tells. Reading it takes no lock that exec holds (see
// proc_process_oracle.cc).
struct ProcStatus {
  pid_t tgid = 0;
  int threads = 0;  // of the group, zombies included; 0 if it does not say
  // False once the thread is past exit_mm() in do_exit, which comes before its
  // descriptors are closed; also for zombies and kernel threads.
  bool has_memory = false;
  // Has memory, but no program in it: only in the middle of execve(2), when the
  // new address space is in place and close-on-exec descriptors are closed.
  bool in_exec = false;
};
std::optional<ProcStatus> ParseProcStatus(std::string_view text);

// An entry of /proc/PID/fdinfo.
struct DescriptorInfo {
  int flags = 0;  // as in open(2)
  std::uint64_t ino = 0;
};
// nullopt if a line is missing ("ino:" came with Linux 5.14).
std::optional<DescriptorInfo> ParseDescriptorInfo(std::string_view text);

}  // namespace ckptfs::fuse
