// TensorWalk: finds the tensors and storages in a value, with their names.
#pragma once

#include <ckptfs/checkpoint/value.h>
#include <ckptfs/result.h>

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_set>

namespace ckptfs {

class TensorVisitor {
 public:
  virtual ~TensorVisitor() = default;
  // Names as in ckptfs/checkpoint/tensor_names.h. A view may be replaced by
  // assignment.
  virtual void Tensor(const std::string& name, TensorView& tensor) = 0;
  // A storage by itself, as inside a quantized tensor.
  virtual void Bare(const std::string& name,
                    const std::shared_ptr<Storage>& storage) = 0;
};

class TensorWalk {
 public:
  explicit TensorWalk(TensorVisitor& visitor) : visitor_(visitor) {}

  // Once. REQUIRES: `value` does not contain itself. kTooLarge: too many paths.
  Result<void> Walk(const Value& value);

 private:
  // Whether anything was visited below.
  Result<bool> Visit(const Value& value);
  Result<bool> VisitNamed(std::string_view part, const Value& value);
  Result<bool> VisitParts(const Value& value);

  TensorVisitor& visitor_;
  std::string name_;
  std::uint64_t visits_ = 0;
  // Containers without tensors, which are entered once however many paths lead
  // to them.
  std::unordered_set<const void*> barren_;
};

}  // namespace ckptfs
