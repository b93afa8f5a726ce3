// MemoryUse: memory of Python's that the engine reads or writes, until nothing
// of the engine touches it any more.
#pragma once

#include <nanobind/nanobind.h>

#include <memory>
#include <utility>

#include "checkpoint/io/loan.h"
#include "python/gil.h"

namespace ckptfs::python {

// Made and destroyed with the GIL held; the destructor waits, and gives the GIL
// away meanwhile.
class MemoryUse {
 public:
  MemoryUse() : loan_(std::make_shared<Loan>()), returned_(loan_->Returned()) {}
  MemoryUse(const MemoryUse&) = delete;
  MemoryUse& operator=(const MemoryUse&) = delete;
  ~MemoryUse() {
    const WithoutGil others;
    loan_.reset();
    (void)std::move(returned_).Get();
  }

  // For the engine.
  std::shared_ptr<void> owner() const { return loan_; }

 private:
  std::shared_ptr<Loan> loan_;
  Future<void> returned_;
};

}  // namespace ckptfs::python
