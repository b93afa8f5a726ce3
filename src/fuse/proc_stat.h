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
  unsigned flags = 0;            // field 9, PF_*
  int threads = 0;               // field 20
  std::uint64_t start_time = 0;  // field 22
  int exit_code = 0;             // field 52; 0 where it is not permitted
};

// nullopt if the text is no stat file.
std::optional<ProcStat> ParseProcStat(std::string_view text);

// "Tgid:" of a status file.
std::optional<pid_t> ParseTgid(std::string_view text);

// An entry of /proc/PID/fdinfo.
struct DescriptorInfo {
  int flags = 0;  // as in open(2)
  std::uint64_t ino = 0;
};
// nullopt if a line is missing ("ino:" came with Linux 5.14).
std::optional<DescriptorInfo> ParseDescriptorInfo(std::string_view text);

// PF_EXITING of linux/sched.h: the thread is past the start of do_exit.
inline constexpr unsigned kExitingFlag = 0x4;

// Whether the thread runs no program code any more.
inline bool IsExiting(const ProcStat& stat) {
  return (stat.flags & kExitingFlag) != 0 || stat.state == 'Z' ||
         stat.state == 'X';
}

}  // namespace ckptfs::fuse
