// SameValue: whether two values are equal, sharing included.
#pragma once

#include <ckptfs/checkpoint/value.h>

#include <unordered_map>
#include <vector>

namespace ckptfs {

// Of two values, each without cycles. Floats are equal by their bits. Tensors
// are compared by what describes them, not by their bytes. Containers, objects
// and tensors that are one in the first must be one in the second.
class SameValue {
 public:
  bool operator()(const Value& a, const Value& b);

 private:
  bool Items(const std::vector<Value>& a, const std::vector<Value>& b);
  bool Pairs(const std::vector<Dict::Item>& a,
             const std::vector<Dict::Item>& b);
  bool Storages(const Storage* a, const Storage* b);
  bool Tensors(const TensorView& a, const TensorView& b);
  bool Objects(const Object& a, const Object& b);
  bool Contents(const Value& a, const Value& b);

  // What was found to be the same, from the first to the second.
  std::unordered_map<const void*, const void*> known_;
};

}  // namespace ckptfs
