// Loan: memory of somebody else's, and when nothing touches it any more.
#pragma once

#include <ckptfs/future.h>

#include <memory>

namespace ckptfs {

// The owner of a Payload or Destination whose memory the caller gets back when
// the last copy of it is gone: a request that was cancelled may hold on to its
// memory for longer than its result is awaited.
class Loan {
 public:
  Loan() = default;
  Loan(const Loan&) = delete;
  Loan& operator=(const Loan&) = delete;
  ~Loan() { returned_.Set({}); }

  // Once. Never an error.
  Future<void> Returned() { return returned_.GetFuture(); }

 private:
  Promise<void> returned_;
};

}  // namespace ckptfs
