// TensorWalk: finds the tensors and storages in a value, with their names.
#pragma once

#include <ckptfs/checkpoint/value.h>
#include <ckptfs/result.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

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

  // Once. kTooLarge: too many paths, or names that are too long taken together.
  // kInvalidArgument: a tensor without a storage, values that nest deeper than
  // any that is read or written, as those do that contain themselves.
  Result<void> Walk(const Value& value);

 private:
  // Whether anything was visited below.
  Result<bool> Visit(const Value& value);
  Result<bool> VisitItems(const std::vector<Value>& items,
                          std::size_t first = 0);
  Result<bool> VisitPairs(const std::vector<Dict::Item>& items);
  Result<bool> VisitParts(const Value& value, std::size_t first_argument);
  Result<std::string> Name();

  // A step of the path: by a key, or else to a position.
  struct Step {
    const Value* key;
    std::size_t position;
  };

  TensorVisitor& visitor_;
  // Names are put together only where they are needed: keys may be long, and
  // lead to nothing.
  std::vector<Step> path_;
  int depth_ = 0;
  std::uint64_t visits_ = 0;
  std::uint64_t name_bytes_ = 0;
  // Containers without tensors, which are entered once however many paths lead
  // to them.
  std::unordered_set<const void*> barren_;
};

}  // namespace ckptfs
