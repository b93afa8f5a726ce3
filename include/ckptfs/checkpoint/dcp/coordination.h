// Coordination: how the ranks of one save or load talk to each other.
#pragma once

#include <ckptfs/export.h>
#include <ckptfs/future.h>

#include <string>
#include <vector>

namespace ckptfs {

// Implemented by whoever knows the ranks (MPI, gloo, torch.distributed). Every
// rank makes the same calls in the same order, one at a time; the bytes are
// opaque. Calls must not block: one that would is run on a thread of the
// implementation's own. They come from the engine's threads.
//
// An error ends the operation on the rank that gets it; the implementation sees
// to it that the others do not wait for ever (deadlines).
class CKPTFS_EXPORT Coordination {
 public:
  virtual ~Coordination() = default;

  virtual int rank() const = 0;  // 0 is the coordinator
  virtual int world_size() const = 0;

  // To rank 0: the bytes of all ranks, by rank. To the others: nothing.
  virtual Future<std::vector<std::string>> Gather(std::string bytes) = 0;
  // From rank 0, which gives as many as there are ranks; the others give none.
  // The result is the rank's own.
  virtual Future<std::string> Scatter(std::vector<std::string> bytes) = 0;
  // The bytes of rank 0, on all; what the others give is ignored.
  virtual Future<std::string> Broadcast(std::string bytes) = 0;
};

// One rank alone. Thread-safe, as it has no state.
class CKPTFS_EXPORT SingleProcess final : public Coordination {
 public:
  int rank() const override { return 0; }
  int world_size() const override { return 1; }
  Future<std::vector<std::string>> Gather(std::string bytes) override;
  Future<std::string> Scatter(std::vector<std::string> bytes) override;
  Future<std::string> Broadcast(std::string bytes) override;
};

}  // namespace ckptfs
