// Random worlds against the reference model. [S-01] [S-02] [S-03] [S-04]
// [S-11] [S-12] [S-13] [S-14] [S-16] [S-21] [S-22] [S-35]
//
// CKPTFS_SIM_SEED=n plays one world and prints it; CKPTFS_SIM_WORLDS=n plays
// that many.
#include <gtest/gtest.h>
#include <malloc.h>

#include <cstdlib>
#include <iostream>
#include <map>

#include "common/log.h"
#include "simulation/world.h"

namespace ckptfs::sim {
namespace {

// Rule of the first violation, e.g. "A1".
std::string Rule(const World& world) {
  return world.model.violations.front().substr(0, 40);
}

TEST(Worlds, KeepThePromise) {
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  const char* fixed = std::getenv("CKPTFS_SIM_SEED");
  const char* count = std::getenv("CKPTFS_SIM_WORLDS");
  const char* first_text = std::getenv("CKPTFS_SIM_FIRST");
  const bool survey = std::getenv("CKPTFS_SIM_SURVEY") != nullptr;
  const int worlds = fixed ? 1 : count ? std::atoi(count) : 3000;
  const std::uint64_t first = fixed        ? std::strtoull(fixed, nullptr, 10)
                              : first_text ? std::strtoull(first_text, nullptr, 10)
                                           : std::random_device()();
  if (fixed == nullptr) {
    ASSERT_TRUE(InitLogging(LogLevel::kOff, "").has_value());
  }
  std::map<std::string, std::pair<int, std::pair<std::size_t, std::uint64_t>>>
      rules;
  for (int i = 0; i < worlds; ++i) {
    World world(WorldPlan::Draw(first + static_cast<std::uint64_t>(i)));
    world.Play();
    if (fixed) std::cout << world.Report();
    if (!world.failed()) continue;
    if (survey) {
      auto& seen = rules[Rule(world)];
      if (seen.first++ == 0 || world.model.trace.size() < seen.second.first) {
        seen.second = {world.model.trace.size(), world.plan.seed};
      }
      continue;
    }
    FAIL() << world.model.violations.front() << "\n" << world.Report();
  }
  for (const auto& [rule, seen] : rules) {
    std::cout << seen.first << "x " << rule << " CKPTFS_SIM_SEED="
              << seen.second.second << " (" << seen.second.first << " lines)\n";
  }
}

}  // namespace
}  // namespace ckptfs::sim
