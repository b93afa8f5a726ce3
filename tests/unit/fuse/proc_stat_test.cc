#include "fuse/proc_stat.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <string>

namespace ckptfs::fuse {
namespace {

// Fields 3 to 52 of a process; `name` stands in parentheses before them.
std::string Stat(const std::string& name, int exit_code) {
  std::string text = "4242 (" + name + ") D";
  for (int field = 4; field <= 51; ++field) {
    text += field == 22 ? " 123456789" : " " + std::to_string(field);
  }
  return text + " " + std::to_string(exit_code) + "\n";
}

TEST(ProcStat, FieldsAreCountedBehindTheName) {
  for (const char* name : {"python", "a b", "evil) R 1 (x", ")", ""}) {
    const auto stat = ParseProcStat(Stat(name, 11));
    ASSERT_TRUE(stat.has_value()) << name;
    EXPECT_EQ(stat->state, 'D');
    EXPECT_EQ(stat->start_time, 123456789u);
    EXPECT_EQ(stat->exit_code, 11);
  }
}

TEST(ProcStat, DamagedTextIsRefused) {
  EXPECT_FALSE(ParseProcStat("").has_value());
  EXPECT_FALSE(ParseProcStat("1 (x) R 1 2").has_value());
  EXPECT_FALSE(ParseProcStat("no parenthesis at all").has_value());
  std::string text = Stat("x", 0);
  text.replace(text.find("123456789"), 9, "12345678x");
  EXPECT_FALSE(ParseProcStat(text).has_value());
}

TEST(ProcStatus, TellsRunningExecAndExitApart) {
  const std::string head = "Name:\tTgid: 5\nState:\tR\nTgid:\t77\nPid:\t78\n";
  const auto running =
      ParseProcStatus(head + "VmPeak:\t 900 kB\nVmExe:\t       8 kB\n");
  ASSERT_TRUE(running.has_value());
  EXPECT_EQ(running->tgid, 77);
  EXPECT_TRUE(running->has_memory);
  EXPECT_EQ(running->threads, 0);
  EXPECT_FALSE(running->in_exec);
  const auto exec = ParseProcStatus(head + "VmExe:\t       0 kB\n");
  EXPECT_TRUE(exec->has_memory);
  EXPECT_TRUE(exec->in_exec);
  const auto exiting = ParseProcStatus(head + "Threads:\t1\n");
  EXPECT_FALSE(exiting->has_memory);
  EXPECT_EQ(exiting->threads, 1);
  EXPECT_FALSE(exiting->in_exec);
  EXPECT_FALSE(ParseProcStatus("Name:\tx\n").has_value());
  EXPECT_FALSE(ParseProcStatus("Tgid:\t\n").has_value());
}

TEST(ProcStat, DescriptorInfoHasOctalFlags) {
  const auto info = ParseDescriptorInfo(
      "pos:\t5\nflags:\t0100001\nmnt_id:\t30\nino:\t7164776867136602113\n");
  ASSERT_TRUE(info.has_value());
  EXPECT_EQ(info->flags & O_ACCMODE, O_WRONLY);
  EXPECT_EQ(info->ino, 7164776867136602113u);
  // Kernels before 5.14 show no inode.
  EXPECT_FALSE(ParseDescriptorInfo("pos:\t0\nflags:\t02\n").has_value());
}

}  // namespace
}  // namespace ckptfs::fuse
