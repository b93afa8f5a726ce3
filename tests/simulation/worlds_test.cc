// Random worlds against the reference model. [S-01] [S-02] [S-03] [S-04]
// [S-11] [S-12] [S-13] [S-14] [S-16] [S-21] [S-22] [S-35]
//
// CKPTFS_SIM_SEED=n plays one world and prints it; CKPTFS_SIM_WORLDS=n plays
// that many, from CKPTFS_SIM_FIRST=n on. CKPTFS_SIM_SURVEY=1 plays each in a
// process of its own and counts what fails, with the shortest world of each
// kind.
#include <gtest/gtest.h>
#include <malloc.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>

#include "common/log.h"
#include "simulation/world.h"

namespace ckptfs::sim {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr int kWorlds = 500;
#else
constexpr int kWorlds = 3000;
#endif

// Said when the world in play ends the program.
char seed_in_play[64];

void TellSeed(int signal) {
  const auto ignored = write(2, seed_in_play, std::strlen(seed_in_play));
  (void)ignored;
  ::signal(signal, SIG_DFL);
  raise(signal);
}

void Play(World& world) {
  std::snprintf(seed_in_play, sizeof seed_in_play,
                "\nended in CKPTFS_SIM_SEED=%llu\n",
                static_cast<unsigned long long>(world.plan.seed));
  world.Play();
}

// In a process of its own: the file that says how it went.
void PlayApart(World& world, const std::string& report) {
  const pid_t child = fork();
  if (child == 0) {
    world.Play();
    std::ofstream out(report);
    out << world.model.trace.size() << "\n"
        << (world.failed() ? world.model.violations.front() : "") << "\n";
    out.close();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (!WIFEXITED(status)) {
    std::ofstream out(report);
    out << "1\nCRASH by signal " << WTERMSIG(status) << "\n";
  }
}

// Rule of the first violation, e.g. "A1".
std::string Rule(const std::string& violation) {
  return violation.substr(0, 40);
}

TEST(Worlds, KeepThePromise) {
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  const char* fixed = std::getenv("CKPTFS_SIM_SEED");
  const char* count = std::getenv("CKPTFS_SIM_WORLDS");
  const char* first_text = std::getenv("CKPTFS_SIM_FIRST");
  const bool survey = std::getenv("CKPTFS_SIM_SURVEY") != nullptr;
  const int worlds = fixed ? 1 : count ? std::atoi(count) : kWorlds;
  const std::uint64_t first = fixed ? std::strtoull(fixed, nullptr, 10)
                              : first_text
                                  ? std::strtoull(first_text, nullptr, 10)
                                  : 1;
  if (fixed == nullptr) {
    ASSERT_TRUE(InitLogging(LogLevel::kOff, "").has_value());
  }
  for (const int s : {SIGSEGV, SIGABRT, SIGBUS}) signal(s, TellSeed);
  std::map<std::string, std::pair<int, std::pair<std::size_t, std::uint64_t>>>
      rules;
  std::unique_ptr<World> shortest;
  for (int i = 0; i < worlds; ++i) {
    World world(WorldPlan::Draw(first + static_cast<std::uint64_t>(i)));
    if (survey) {
      const std::string report = testing::TempDir() + "/world.report";
      PlayApart(world, report);
      std::ifstream in(report);
      std::size_t lines = 0;
      std::string violation;
      in >> lines >> std::ws;
      std::getline(in, violation);
      if (violation.empty()) continue;
      auto& seen = rules[Rule(violation)];
      if (seen.first++ == 0 || lines < seen.second.first) {
        seen.second = {lines, world.plan.seed};
      }
      continue;
    }
    Play(world);
    if (fixed) std::cout << world.Report();
    if (!world.failed()) continue;
    // The shortest of those nearby that break the same rule is read with less
    // trouble.
    for (int more = 1; more <= 200 && !fixed; ++more) {
      auto other = std::make_unique<World>(
          WorldPlan::Draw(world.plan.seed + static_cast<std::uint64_t>(more)));
      Play(*other);
      if (other->failed() &&
          Rule(other->model.violations.front()) ==
              Rule(world.model.violations.front()) &&
          (!shortest ||
           other->model.trace.size() < shortest->model.trace.size())) {
        shortest = std::move(other);
      }
    }
    if (shortest && shortest->model.trace.size() < world.model.trace.size()) {
      std::cout << "A shorter one: " << shortest->Report();
    }
    FAIL() << world.model.violations.front() << "\n" << world.Report();
  }
  for (const auto& [rule, seen] : rules) {
    std::cout << seen.first << "x " << rule
              << " CKPTFS_SIM_SEED=" << seen.second.second << " ("
              << seen.second.first << " lines)\n";
  }
}

}  // namespace
}  // namespace ckptfs::sim
