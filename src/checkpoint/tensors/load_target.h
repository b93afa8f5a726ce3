// LoadTarget: whether the tensors of a file fit those they are to be loaded
// into. The same for all formats.
#pragma once

#include <ckptfs/checkpoint/tensor_view.h>
#include <ckptfs/result.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace ckptfs {

// kInvalidArgument, with the name: another dtype or shape, no memory, or memory
// that elements share (a stride of 0) which differ in the file.
Result<void> CheckTarget(const std::string& name, const TensorView& from,
                         const TensorView& to);

// Of a strict load. kInvalidArgument: names on one side alone.
Result<void> CheckNames(const std::vector<std::string>& missing,
                        const std::vector<std::string>& unexpected);

// Memory that is to be filled straight from the file: by one tensor only.
class TargetMemory {
 public:
  // False: it overlaps what was added before, and is not added. REQUIRES: a
  // contiguous tensor in loaded memory.
  bool Add(const TensorView& to);

 private:
  std::map<std::uintptr_t, std::uintptr_t> taken_;  // begin -> end, disjoint
};

}  // namespace ckptfs
