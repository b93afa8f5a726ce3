// SimWorld: one mount, simulated. The file system runs on one thread under a
// seeded scheduler that decides in which order store calls end, timers fire and
// programs act. A bucket outlives the world, so that a crash and the next
// mount can be played.
#pragma once

#include <fcntl.h>

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/memory_budget.h"
#include "common/slab_pool.h"
#include "fs/file_system.h"
#include "simulation/sim_store.h"
#include "support/manual_executor.h"

namespace ckptfs::sim {

// Says what the script says of processes.
class ScriptedOracle final : public fs::ProcessOracle {
 public:
  struct Process {
    pid_t tgid = 0;
    bool dying = false;
    std::map<fs::InodeNumber, int> other_writable;  // descriptors left
  };
  std::map<pid_t, Process> threads;

  Future<fs::ProcessGroup> GroupOf(pid_t tid) override {
    return Future<fs::ProcessGroup>(Group(tid));
  }
  Future<fs::FlushWitness> WitnessFlush(pid_t tid,
                                        fs::InodeNumber ino) override {
    fs::FlushWitness witness;
    witness.group = Group(tid);
    const auto it = threads.find(tid);
    if (it != threads.end()) {
      witness.dying_by_signal = it->second.dying;
      const auto other = it->second.other_writable.find(ino);
      witness.has_other_writable_descriptor =
          other != it->second.other_writable.end() && other->second > 0;
    }
    return Future<fs::FlushWitness>(witness);
  }
  Future<fs::GroupFate> FateOf(fs::ProcessGroup group) override {
    const auto it = threads.find(group.tgid);
    const bool living = it != threads.end() && !it->second.dying;
    return Future<fs::GroupFate>(living ? fs::GroupFate::kLiving
                                        : fs::GroupFate::kEnding);
  }

 private:
  fs::ProcessGroup Group(pid_t tid) const {
    const auto it = threads.find(tid);
    if (it == threads.end()) return {};
    return {fs::ProcessGroup::Kind::kPidfd, it->second.tgid, 1};
  }
};

class RecordingNotifier final : public fs::KernelNotifier {
 public:
  void InvalidateInode(fs::InodeNumber ino) override { inodes.insert(ino); }
  void InvalidateEntry(fs::InodeNumber, std::string name) override {
    entries.insert(std::move(name));
  }
  std::set<fs::InodeNumber> inodes;
  std::set<std::string> entries;
};

class SimWorld {
 public:
  SimWorld(std::uint64_t seed, ObjectStore& bucket,
           fs::FileSystemOptions options = DefaultOptions())
      : random(seed),
        budget(256ull << 20),
        slabs(64),
        store(bucket),
        files(fs::FileSystemParts{&store, &executor, &executor, &clock, &budget,
                                  &slabs, &oracle, &notifier},
              std::move(options)) {}
  ~SimWorld() { Crash(); }

  static fs::FileSystemOptions DefaultOptions() {
    fs::FileSystemOptions options;
    options.bucket = "bucket";
    options.part_bytes = 5ull << 20;
    return options;
  }

  // One thing happens; false: nothing can.
  bool Step() {
    if (executor.RunOne()) return true;
    auto& pending = store.pending();
    if (!pending.empty()) {
      const std::size_t i = random() % pending.size();
      if (crash_at_call && settled_ == *crash_at_call) {
        // The daemon dies here: the call may or may not have reached S3.
        if (random() % 2 == 0) store.Settle(i, SimStore::Fate::kSucceed);
        crashed = true;
        return false;
      }
      SimStore::Fate fate = SimStore::Fate::kSucceed;
      if (fault_percent > 0 &&
          static_cast<int>(random() % 100) < fault_percent) {
        fate = random() % 3 == 0 ? SimStore::Fate::kLoseReply
                                 : SimStore::Fate::kFail;
        faulted.insert(pending[i].key);
      }
      ++settled_;
      store.Settle(i, fate);
      return true;
    }
    if (const auto wait = clock.UntilNextTimer()) {
      clock.Advance(*wait);
      return true;
    }
    return false;
  }
  std::uint64_t settled_calls() const { return settled_; }

  // Runs until the reply is there; nullopt after a crash.
  template <typename T, typename Start>
  std::optional<Result<T>> Await(Start start) {
    std::optional<Result<T>> out;
    start(fs::Reply<T>([&out](Result<T> r) { out.emplace(std::move(r)); }));
    while (!out && !crashed && Step()) {
    }
    if (!out) {
      // The reply's callback refers to this frame.
      Crash();
      return std::nullopt;
    }
    return out;
  }

  // Ends the daemon without any further effect on the bucket.
  void Crash() {
    crashed = true;
    store.Die();
    while (true) {
      if (executor.RunOne()) continue;
      if (const auto wait = clock.UntilNextTimer()) {
        clock.Advance(*wait);
        continue;
      }
      break;
    }
  }

  std::mt19937_64 random;
  ManualExecutor executor;
  FakeClock clock;
  MemoryBudget budget;
  SlabPool slabs;
  ScriptedOracle oracle;
  RecordingNotifier notifier;
  SimStore store;
  fs::FileSystem files;

  int fault_percent = 0;
  std::set<std::string> faulted;  // keys whose calls were failed
  std::optional<std::uint64_t> crash_at_call;
  bool crashed = false;

 private:
  std::uint64_t settled_ = 0;
};

}  // namespace ckptfs::sim
