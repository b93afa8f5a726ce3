// ValueGraph: the containers of one read, so that none of them, however deep or
// circular, is ever taken apart by recursion.
#pragma once

#include <ckptfs/checkpoint/value.h>
#include <ckptfs/result.h>

#include <cstdint>
#include <vector>

namespace ckptfs {

class ValueGraph {
 public:
  ValueGraph() = default;
  ValueGraph(const ValueGraph&) = delete;
  ValueGraph& operator=(const ValueGraph&) = delete;
  // Empties every container that Release() has not let go of.
  ~ValueGraph();

  // Notes a container, right after it was made; other values are ignored.
  void Add(const Value& value);

  // Checks that `root` contains itself nowhere and nests at most `max_depth`
  // levels; then what it holds survives this object. kInvalidArgument
  // otherwise. Iterative; linear in the number of values.
  Result<void> Release(const Value& root, std::uint32_t max_depth);

 private:
  std::vector<Value> containers_;
};

}  // namespace ckptfs
