// FlattenState: torch's rule by which a nested state becomes named values.
// Source: torch 2.13, torch/distributed/checkpoint/_traverse.py.
#pragma once

#include <ckptfs/checkpoint/dcp/metadata.h>
#include <ckptfs/checkpoint/value.h>
#include <ckptfs/result.h>

#include <cstddef>
#include <string>
#include <vector>

namespace ckptfs {

struct FlatValue {
  std::string fqn;
  DcpPath path;
  Value value;
  // Where it is: a dict and the key there, or a list and the position.
  Value container;
  Value key;
  std::size_t position = 0;

  // Puts another value in its place.
  void Replace(Value other) const;
};

enum class FlattenRule {
  kCurrent,
  kBefore24,  // dicts without tensors or containers are values of their own
};

// kInvalidArgument: no dict, two values of one name, a key that has no name.
Result<std::vector<FlatValue>> FlattenState(const Value& state,
                                            FlattenRule rule);

// The way back.
class StateBuilder {
 public:
  // `values`: how many there will be; bounds what positions can cost.
  explicit StateBuilder(std::size_t values);

  // kInvalidArgument: a path that is empty, runs through a value, or has a
  // position far beyond the number of values.
  Result<void> Set(const DcpPath& path, Value value);
  const Value& state() const { return state_; }

 private:
  std::size_t slots_left_;
  Value state_;
};

}  // namespace ckptfs
