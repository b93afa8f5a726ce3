// Processes of the simulated machine: thread groups, threads and descriptor
// tables, and what /proc says of them at the moment it is read.
#pragma once

#include <sys/types.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "fs/process_oracle.h"
#include "simulation/sim_description.h"

namespace ckptfs::sim {

struct Descriptor {
  std::shared_ptr<Description> file;
  bool close_on_exec = false;
};

struct Group;

struct Thread {
  pid_t tid = 0;
  Group* group = nullptr;
  bool busy = false;   // in a system call
  bool ended = false;  // no longer in /proc
};

struct Group {
  int serial = 0;  // never reused
  int mount = 0;   // the one it works on
  pid_t tgid = 0;
  std::uint64_t id = 0;     // what tells it from a later one of the same number
  bool foreign = false;     // another pid namespace: FUSE names no thread
  bool hidden = false;      // /proc does not show it to the daemon
  bool dying = false;       // by a signal
  bool ending = false;      // exit() or a signal: no more system calls
  bool table_gone = false;  // exit_files(): /proc shows no descriptors
  std::map<int, Descriptor> table;
  std::vector<std::shared_ptr<Description>> mappings;
  // Grows whenever a descriptor for writing appears or goes.
  std::uint64_t table_changes = 0;
  std::vector<std::unique_ptr<Thread>> threads;

  int living_threads() const {
    return static_cast<int>(
        std::count_if(threads.begin(), threads.end(),
                      [](const auto& t) { return !t->ended; }));
  }
  bool ended() const { return living_threads() == 0; }
  bool HasWritable(fs::InodeNumber ino) const {
    return std::any_of(table.begin(), table.end(), [&](const auto& entry) {
      return entry.second.file->writable() && entry.second.file->ino == ino;
    });
  }
};

class ProcessTable {
 public:
  fs::ProcessGroup::Kind kind = fs::ProcessGroup::Kind::kPidfd;
  bool reuse_numbers = false;
  std::vector<std::unique_ptr<Group>> groups;

  Group& NewGroup() {
    auto group = std::make_unique<Group>();
    group->serial = static_cast<int>(groups.size()) + 1;
    group->id = static_cast<std::uint64_t>(group->serial) + 1000;
    group->tgid = NewNumber();
    groups.push_back(std::move(group));
    Group& made = *groups.back();
    AddThread(made, made.tgid);
    return made;
  }
  Thread& AddThread(Group& group, pid_t tid = 0) {
    auto thread = std::make_unique<Thread>();
    thread->tid = tid != 0 ? tid : NewNumber();
    thread->group = &group;
    group.threads.push_back(std::move(thread));
    return *group.threads.back();
  }
  const Thread* Find(pid_t tid) const {
    for (const auto& group : groups) {
      for (const auto& thread : group->threads) {
        if (!thread->ended && thread->tid == tid) return thread.get();
      }
    }
    return nullptr;
  }

  fs::ProcessGroup GroupOf(pid_t tid) const {
    const Thread* thread = Find(tid);
    if (thread == nullptr || thread->group->hidden) return {};
    const Group& g = *thread->group;
    return {kind, g.tgid, kind == fs::ProcessGroup::Kind::kNumber ? 0 : g.id};
  }
  fs::FlushWitness Witness(pid_t tid, fs::InodeNumber ino) const {
    fs::FlushWitness out;
    out.group = GroupOf(tid);
    if (!out.group.known()) return out;
    const Group& g = *Find(tid)->group;
    out.dying_by_signal = g.dying;
    out.has_other_writable_descriptor = !g.table_gone && g.HasWritable(ino);
    return out;
  }
  fs::GroupFate Fate(const fs::ProcessGroup& of) const {
    for (const auto& g : groups) {
      if (g->ended() || g->hidden || g->tgid != of.tgid) continue;
      const bool same =
          of.kind == fs::ProcessGroup::Kind::kNumber || of.id == g->id;
      return same && !g->ending ? fs::GroupFate::kLiving
                                : fs::GroupFate::kEnding;
    }
    return fs::GroupFate::kEnding;
  }

 private:
  pid_t NewNumber() {
    if (reuse_numbers) {
      for (pid_t n = 100; n < next_; ++n) {
        if (Find(n) == nullptr && !NumbersGroup(n)) return n;
      }
    }
    return next_++;
  }
  // The number of a group stays taken while any of its threads lives.
  bool NumbersGroup(pid_t n) const {
    return std::any_of(groups.begin(), groups.end(), [&](const auto& g) {
      return g->tgid == n && !g->ended();
    });
  }
  pid_t next_ = 100;
};

// Answers when the world says so, with what /proc shows at that moment.
class SimOracle final : public fs::ProcessOracle {
 public:
  explicit SimOracle(const ProcessTable& processes) : processes_(processes) {}

  Future<fs::ProcessGroup> GroupOf(pid_t tid) override {
    return Ask<fs::ProcessGroup>(
        [this, tid] { return processes_.GroupOf(tid); });
  }
  Future<fs::FlushWitness> WitnessFlush(pid_t tid,
                                        fs::InodeNumber ino) override {
    return Ask<fs::FlushWitness>(
        [this, tid, ino] { return processes_.Witness(tid, ino); });
  }
  Future<fs::GroupFate> FateOf(fs::ProcessGroup group) override {
    return Ask<fs::GroupFate>([this, group] { return processes_.Fate(group); });
  }

  // A group may be taken for an older one of the same number.
  bool ambiguous() const {
    return processes_.reuse_numbers &&
           processes_.kind == fs::ProcessGroup::Kind::kNumber;
  }
  std::size_t pending() const { return pending_.size(); }
  void Answer(std::size_t index) {
    std::function<void()> answer = std::move(pending_[index]);
    pending_.erase(pending_.begin() + static_cast<std::ptrdiff_t>(index));
    answer();
  }

 private:
  template <typename T>
  Future<T> Ask(std::function<T()> read) {
    auto promise = std::make_shared<Promise<T>>();
    Future<T> future = promise->GetFuture();
    pending_.push_back(
        [promise, read = std::move(read)] { promise->Set(read()); });
    return future;
  }

  const ProcessTable& processes_;
  std::vector<std::function<void()>> pending_;
};

}  // namespace ckptfs::sim
