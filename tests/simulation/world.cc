#include "simulation/world.h"

#include <algorithm>
#include <sstream>

namespace ckptfs::sim {

namespace {

constexpr ErrorCode kErrors[] = {
    ErrorCode::kUnavailable, ErrorCode::kPermissionDenied,
    ErrorCode::kUnauthenticated, ErrorCode::kDeadlineExceeded,
    ErrorCode::kUnavailable};

bool Writes(const SimStore::Call& call) {
  return call.operation == "Put" || call.operation == "CompleteMultipart" ||
         call.operation == "Copy";
}

}  // namespace

WorldPlan WorldPlan::Draw(std::uint64_t seed) {
  std::mt19937_64 random(seed * 0x9e3779b97f4a7c15ull + 1);
  const auto chance = [&](int percent) {
    return static_cast<int>(random() % 100) < percent;
  };
  WorldPlan plan;
  plan.seed = seed;
  plan.groups = 1 + static_cast<int>(random() % 4);
  plan.actions = 4 + static_cast<int>(random() % 30);
  plan.fault_percent = chance(45) ? 0 : 2 + static_cast<int>(random() % 20);
  plan.late_weight = static_cast<int>(random() % 4);
  plan.answer_weight = 2 + static_cast<int>(random() % 10);
  plan.other_client = chance(15);
  plan.mounts = chance(12) ? 2 : 1;
  plan.crashes = chance(10);
  plan.large_files = chance(12);
  plan.mappings = chance(30);
  plan.unseen_processes = chance(25);
  plan.paths = {"model"};
  for (const char* path : {".tmpX", "b.pt", "d/m"}) {
    if (chance(55)) plan.paths.push_back(path);
  }
  return plan;
}

std::string WorldPlan::Describe() const {
  std::ostringstream out;
  out << "CKPTFS_SIM_SEED=" << seed << ": " << mounts << " mount(s), " << groups
      << " process(es), " << actions << " actions, " << fault_percent
      << "% faults" << (other_client ? ", another client" : "")
      << (crashes ? ", crashes" : "") << (large_files ? ", large files" : "")
      << (mappings ? ", mappings" : "")
      << (unseen_processes ? ", unseen processes" : "");
  return out.str();
}

World::World(WorldPlan drawn)
    : plan(std::move(drawn)), random(plan.seed), model(bucket) {
  model.shared_bucket = plan.mounts > 1 || plan.other_client;
  for (int i = 0; i < plan.mounts; ++i) {
    kernels_.push_back(
        std::make_unique<SimKernel>(model, processes, random, programs_));
    mounts_.emplace_back();
    StartMount(i);
  }
}

World::~World() {
  // What still waits is told that its daemon died, and ends.
  for (auto& mount : mounts_) mount->Die();
  for (auto& kernel : kernels_) kernel->Died();
  for (const auto& group : processes.groups) group->ending = true;
  programs_.RunAll();
}

void World::StartMount(int number) {
  // Numbers of inodes are never reused, nor shared by two mounts.
  auto mount =
      std::make_unique<SimMount>(number, bucket, processes, next_first_inode_);
  next_first_inode_ += 0x1000;
  mount->store.set_observer(
      [this, number](const SimStore::Call& call, bool succeeded) {
        if (succeeded) {
          model.Effect(number, call.operation, call.key, call.source_key);
        }
      });
  kernels_[number]->Attach(mount.get());
  if (mounts_[number]) graveyard_.push_back(std::move(mounts_[number]));
  mounts_[number] = std::move(mount);
}

void World::Crash(int number) {
  SimMount& mount = *mounts_[number];
  model.Trace("the daemon of mount " + std::to_string(number) + " dies");
  // What was on the wire may have reached S3.
  auto& pending = mount.store.pending();
  for (std::size_t i = 0; i < pending.size(); ++i) {
    if (!pending[i].executed && Pick(2) == 0) mount.store.Execute(i);
  }
  lost_uploads_ = lost_copies_ = true;
  model.MountDied(number);
  kernels_[number]->Died();
  mount.Die();
  StartMount(number);
}

std::string World::Report() const {
  std::ostringstream out;
  out << plan.Describe() << "\n";
  for (const std::string& line : model.trace) out << line << "\n";
  return out.str();
}

bool World::StepStore() {
  std::vector<SimMount*> waiting;
  for (auto& mount : mounts_) {
    if (!mount->store.pending().empty()) waiting.push_back(mount.get());
  }
  if (waiting.empty()) return false;
  SimMount& mount = *waiting[Pick(waiting.size())];
  const std::size_t i = Pick(mount.store.pending().size());
  const SimStore::Call& call = mount.store.pending()[i];
  const std::string what = call.operation + " " + call.key;
  if (call.executed) {
    model.Trace("  answered: " + what);
    mount.store.Settle(i, SimStore::Fate::kSucceed);
    return true;
  }
  if (!ending_ && static_cast<int>(Pick(100)) < plan.fault_percent) {
    const bool publishes = Writes(call);
    const bool upload = call.operation.find("Multipart") != std::string::npos;
    const bool reserved = call.key.rfind(".ckptfs/", 0) == 0;
    SimStore::Fate fate =
        Pick(3) == 0 ? SimStore::Fate::kLoseReply : SimStore::Fate::kFail;
    ErrorCode code = kErrors[Pick(std::size(kErrors))];
    if (fate == SimStore::Fate::kLoseReply) {
      // Of a write the store finds out what became of it, or says it cannot.
      code = publishes ? ErrorCode::kOutcomeUnknown : ErrorCode::kUnavailable;
    } else if (publishes && Pick(5) == 0) {
      code = ErrorCode::kOutcomeUnknown;
    }
    lost_uploads_ |= upload;
    lost_copies_ |= reserved;
    model.Fault(mount.number);
    model.Trace(
        "  fault: " + what + " " + std::string(ErrorCodeName(code)) +
        (fate == SimStore::Fate::kLoseReply ? " after it was done" : ""));
    mount.store.Settle(i, fate, code);
    return true;
  }
  model.Trace("  done: " + what);
  if (Pick(2) == 0) {
    mount.store.Execute(i);
  } else {
    mount.store.Settle(i, SimStore::Fate::kSucceed);
  }
  return true;
}

bool World::StepClock() {
  std::optional<Duration> wait;
  for (auto& mount : mounts_) {
    const auto next = mount->clock.UntilNextTimer();
    if (next && (!wait || *next < *wait)) wait = next;
  }
  if (!wait) return false;
  for (auto& mount : mounts_) mount->clock.Advance(*wait);
  return true;
}

bool World::Step() {
  ++model.step;
  // What runs at once mostly does.
  if (Pick(8) != 0) {
    for (auto& mount : mounts_) {
      if (mount->executor.RunOne()) return true;
    }
    if (programs_.RunOne()) return true;
  }
  struct Choice {
    int weight;
    std::function<bool()> act;
  };
  std::vector<Choice> choices = {
      {3, [&] { return mounts_[Pick(mounts_.size())]->executor.RunOne(); }},
      {3, [&] { return programs_.RunOne(); }},
      {plan.answer_weight, [&] { return StepStore(); }},
      {4,
       [&] {
         SimMount& mount = *mounts_[Pick(mounts_.size())];
         if (mount.oracle.pending() == 0) return false;
         mount.oracle.Answer(Pick(mount.oracle.pending()));
         return true;
       }},
      {1 + plan.late_weight * 2,
       [&] {
         SimKernel& kernel = *kernels_[Pick(kernels_.size())];
         if (kernel.late.empty()) return false;
         if (plan.late_weight == 0 && Pick(8) != 0) return false;
         const std::size_t i = Pick(kernel.late.size());
         auto late = std::move(kernel.late[i]);
         kernel.late.erase(kernel.late.begin() +
                           static_cast<std::ptrdiff_t>(i));
         late.deliver();
         return true;
       }},
      {4,
       [&] {
         if (actions_left_ <= 0) return false;
         --actions_left_;
         StartAction();
         return true;
       }},
      {1, [&] { return Pick(4) == 0 && StepClock(); }},
      {1,
       [&] {
         SimKernel& kernel = *kernels_[Pick(kernels_.size())];
         if (!kernel.has_dirty_pages()) return false;
         Spawn(programs_, kernel.WriteSomePages());
         return true;
       }},
      {1,
       [&] {
         if (ending_ || Pick(8) != 0) return false;
         kernels_[Pick(kernels_.size())]->EvictOne();
         return true;
       }},
  };
  if (!ending_) {
    if (plan.other_client) {
      choices.push_back({1, [&] {
                           if (Pick(10) != 0) return false;
                           OtherClient();
                           return true;
                         }});
    }
    if (plan.crashes) {
      choices.push_back({1, [&] {
                           if (Pick(60) != 0) return false;
                           Crash(static_cast<int>(Pick(mounts_.size())));
                           return true;
                         }});
    }
  }
  int total = 0;
  for (const Choice& c : choices) total += c.weight;
  int at = static_cast<int>(Pick(static_cast<std::uint64_t>(total)));
  for (const Choice& c : choices) {
    if ((at -= c.weight) >= 0) continue;
    if (c.act()) return true;
    break;
  }
  // Whatever is possible at all, in order.
  for (auto& mount : mounts_) {
    if (mount->executor.RunOne()) return true;
  }
  if (programs_.RunOne()) return true;
  if (actions_left_ > 0) {
    --actions_left_;
    StartAction();
    return true;
  }
  if (StepStore()) return true;
  for (auto& mount : mounts_) {
    if (mount->oracle.pending() > 0) {
      mount->oracle.Answer(0);
      return true;
    }
  }
  for (auto& kernel : kernels_) {
    if (!kernel->late.empty()) {
      auto late = std::move(kernel->late.front());
      kernel->late.erase(kernel->late.begin());
      late.deliver();
      return true;
    }
    if (kernel->has_dirty_pages()) {
      Spawn(programs_, kernel->WriteSomePages());
      return true;
    }
  }
  return StepClock();
}

void World::Play() {
  for (int i = 0; i < plan.groups; ++i) {
    Group& g = processes.NewGroup();
    g.mount = i % plan.mounts;
    if (plan.unseen_processes) {
      g.foreign = Pick(3) == 0;
      g.hidden = !g.foreign && Pick(4) == 0;
    }
  }
  if (plan.unseen_processes) {
    processes.reuse_numbers = Pick(2) == 0;
    const auto kinds = {fs::ProcessGroup::Kind::kPidfd,
                        fs::ProcessGroup::Kind::kStartTime,
                        fs::ProcessGroup::Kind::kNumber};
    processes.kind = *(kinds.begin() + Pick(3));
  }
  for (const std::string& path : plan.paths) {
    if (Pick(2) == 0) PutForeign(path, AnySize());
  }
  actions_left_ = plan.actions;
  int steps = 0;
  while (!failed() && Step()) {
    if (++steps > 60'000) {
      model.Violate("the world does not come to rest");
      return;
    }
  }
  if (!failed()) Finish();
}

void World::Finish() {
  if (failed()) return;
  ending_ = true;
  calm_ = false;
  actions_left_ = 0;
  plan.fault_percent = 0;
  hold = hold_answer = nullptr;
  refuse = lose = nullptr;
  model.Trace("the end");
  const auto run = [&] {
    int steps = 0;
    while (!failed() && Step()) {
      if (++steps > 60'000) model.Violate("the end does not come to rest");
    }
  };
  run();
  for (const auto& group : processes.groups) {
    for (const auto& thread : group->threads) {
      if (thread->busy) {
        model.Violate("a call of thread " + std::to_string(thread->tid) +
                      " is never answered");
      }
      if (thread->ended || failed()) continue;
      SpawnProgram(thread.get(), KernelOf(thread.get()).Exit(thread.get()));
      run();
    }
  }
  for (auto& mount : mounts_) {
    Future<fs::DrainReport> drained = mount->Drain(std::chrono::seconds(1));
    (void)drained;
  }
  run();
  if (!failed()) CheckEnd();
}

void World::CheckEnd() {
  for (auto& mount : mounts_) {
    if (mount->waiting() != 0) model.Violate("requests are never answered");
    if (mount->budget.used() != 0) {
      model.Violate("memory is still counted: " +
                    std::to_string(mount->budget.used()));
    }
    if (mount->slabs.outstanding() != 0) {
      model.Violate("slabs are still held: " +
                    std::to_string(mount->slabs.outstanding()));
    }
  }
  if (!lost_uploads_ && !bucket.OpenUploads().empty()) {
    model.Violate("an upload is left over: " +
                  bucket.OpenUploads().front().key);
  }
  for (const auto& [key, bytes] : bucket.Snapshot()) {
    if (key.rfind(".ckptfs/", 0) == 0 && !lost_copies_) {
      model.Violate("left over: " + key);
    }
  }
}

// Scenarios.

void World::Settle() {
  calm_ = true;
  while (true) {
    ++model.step;
    bool acted = programs_.RunOne();
    for (auto& mount : mounts_) {
      if (acted) break;
      acted = mount->executor.RunOne();
      if (acted) break;
      if (!hold_oracle && mount->oracle.pending() > 0) {
        mount->oracle.Answer(0);
        acted = true;
        break;
      }
      auto& pending = mount->store.pending();
      for (std::size_t i = 0; i < pending.size(); ++i) {
        if (hold && !pending[i].executed && hold(pending[i])) continue;
        const auto error =
            refuse && !pending[i].executed ? refuse(pending[i]) : std::nullopt;
        const auto lost =
            lose && !pending[i].executed ? lose(pending[i]) : std::nullopt;
        if (error || lost) {
          model.Fault(mount->number);
          model.Trace("  fault: " + pending[i].operation + " " +
                      pending[i].key);
          mount->store.Settle(
              i, error ? SimStore::Fate::kFail : SimStore::Fate::kLoseReply,
              error ? *error : *lost);
        } else if (hold_answer && hold_answer(pending[i])) {
          if (pending[i].executed) continue;
          model.Trace("  done: " + pending[i].operation + " " + pending[i].key);
          mount->store.Execute(i);
        } else {
          model.Trace("  done: " + pending[i].operation + " " + pending[i].key);
          mount->store.Settle(i, SimStore::Fate::kSucceed);
        }
        acted = true;
        break;
      }
      if (acted) break;
    }
    if (!acted) return;
  }
}

void World::DeliverLate() {
  for (auto& kernel : kernels_) {
    while (!kernel->late.empty()) {
      auto late = std::move(kernel->late.front());
      kernel->late.erase(kernel->late.begin());
      late.deliver();
      Settle();
    }
  }
}

void World::Advance(Duration by) {
  for (auto& mount : mounts_) mount->clock.Advance(by);
  Settle();
}

void World::PutForeign(const std::string& key, std::uint64_t size) {
  static WriteId next = 1u << 20;
  const WriteId id = next++;
  std::string bytes(size, '\0');
  Fill({reinterpret_cast<std::byte*>(bytes.data()), size}, id, 0);
  Content content;
  content.Write(0, size, id);
  const PutResult put = bucket.PutBytes(key, bytes);
  model.ForeignPut(key, content, put.etag.value);
  model.Trace("another client puts " + key + ": " + content.Describe());
}

}  // namespace ckptfs::sim
