// World: a machine or two with their mounts of one bucket, programs on them,
// another client, and time. What happens next is drawn from a seed, or asked
// for step by step (scenarios).
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "simulation/reference_model.h"
#include "simulation/sim_kernel.h"
#include "simulation/sim_mount.h"
#include "simulation/sim_process.h"
#include "store/memory_object_store.h"

namespace ckptfs::sim {

// What may happen in a world; drawn from its seed.
struct WorldPlan {
  std::uint64_t seed = 0;
  int mounts = 1;
  int groups = 2;
  int actions = 20;
  int fault_percent = 0;  // of store calls
  int late_weight = 2;    // how soon RELEASE and FORGET come
  int answer_weight = 6;  // how soon the store answers
  bool other_client = false;
  bool crashes = false;
  bool large_files = false;
  bool mappings = false;
  bool unseen_processes = false;
  std::vector<std::string> paths;

  static WorldPlan Draw(std::uint64_t seed);
  std::string Describe() const;
};

class World {
 public:
  explicit World(WorldPlan plan);
  ~World();

  // Plays the plan to its end and checks what must hold then.
  void Play();

  // Scenarios: nothing happens but what is asked for here and what follows
  // from it at once.
  Thread* NewProcess() { return processes.NewGroup().threads.front().get(); }
  SimKernel& kernel(int mount = 0) { return *kernels_[mount]; }
  SimMount& mount(int number = 0) { return *mounts_[number]; }
  ManualExecutor& programs() { return programs_; }
  template <typename T>
  struct Call {
    std::shared_ptr<std::optional<Result<T>>> result =
        std::make_shared<std::optional<Result<T>>>();
    bool done() const { return result->has_value(); }
    bool ok() const { return done() && (*result)->has_value(); }
    const Result<T>& operator*() const { return **result; }
  };
  template <typename T>
  Call<T> Start(Task<Result<T>> task) {
    Call<T> call;
    Spawn<Result<T>>(
        programs_, std::move(task),
        [result = call.result](Result<T> r) { result->emplace(std::move(r)); });
    Settle();
    return call;
  }
  // Runs until only what is held is left. Store calls are answered in order.
  void Settle();
  // Store calls that are neither executed nor answered for now.
  std::function<bool(const SimStore::Call&)> hold;
  // Executed, but not answered.
  std::function<bool(const SimStore::Call&)> hold_answer;
  // Answered with this error instead; the second: after they took effect.
  std::function<std::optional<ErrorCode>(const SimStore::Call&)> refuse;
  std::function<std::optional<ErrorCode>(const SimStore::Call&)> lose;
  bool hold_oracle = false;
  void DeliverLate();
  void Advance(Duration by);
  // Everybody exits, everything is delivered, the mounts end.
  void Finish();
  void PutForeign(const std::string& key, std::uint64_t size);
  void Crash(int number);

  bool failed() const { return !model.violations.empty(); }
  std::string Report() const;

  WorldPlan plan;
  std::mt19937_64 random;
  MemoryObjectStore bucket;
  ReferenceModel model;
  ProcessTable processes;

 private:
  bool Step();
  bool StepStore();
  bool StepClock();
  void StartMount(int number);
  void StartAction();
  Task<void> Act(Thread* t);
  Task<void> ActOnDescriptor(Thread* t, int fd);
  Task<void> Save(Thread* t);
  void SpawnProgram(Thread* t, Task<void> task);
  static Task<void> RunBusy(World* world, Thread* t, Task<void> task);
  void OtherClient();
  SimKernel& KernelOf(const Thread* t) {
    return *kernels_[static_cast<std::size_t>(t->group->mount)];
  }
  std::string AnyPath();
  int OpenFlags();
  std::uint64_t AnySize();
  std::uint64_t Pick(std::uint64_t n) { return random() % n; }
  void CheckEnd();

  ManualExecutor programs_;
  std::vector<std::unique_ptr<SimMount>> mounts_;
  std::vector<std::unique_ptr<SimMount>> graveyard_;
  std::vector<std::unique_ptr<SimKernel>> kernels_;
  std::uint64_t next_first_inode_ = 0x1000;
  int actions_left_ = 0;
  bool calm_ = false;          // scenarios
  bool ending_ = false;        // no more faults and actions
  bool lost_uploads_ = false;  // a fault may have left an upload
  bool lost_copies_ = false;   // or a copy below .ckptfs/
};

}  // namespace ckptfs::sim
