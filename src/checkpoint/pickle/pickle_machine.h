// PickleMachine: a stack, marks and a memo, driven by opcodes. ReadPickle is
// its face.
#pragma once

#include <ckptfs/checkpoint/value.h>
#include <ckptfs/result.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <iterator>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/pickle/opcodes.h"
#include "checkpoint/pickle/pickle_reader.h"
#include "checkpoint/pickle/value_graph.h"

namespace ckptfs {

inline tl::unexpected<Error> BadPickle(const std::string& why) {
  return Fail(ErrorCode::kInvalidArgument, why);
}

// Picklers number what they memoize from 0; anything else goes to a map, so
// that one large number does not cost memory. An ordered one: of a hash, a file
// could choose the collisions.
class PickleMemo {
 public:
  explicit PickleMemo(std::uint32_t limit) : limit_(limit) {}

  std::size_t size() const { return dense_.size() + sparse_.size(); }
  bool Put(std::uint64_t index, Value value) {
    if (size() >= limit_) return false;
    if (index < dense_.size()) {
      dense_[index] = std::move(value);
    } else if (index == dense_.size()) {
      dense_.push_back(std::move(value));
    } else {
      sparse_[index] = std::move(value);
    }
    return true;
  }
  const Value* Get(std::uint64_t index) const {
    if (index < dense_.size()) return &dense_[index];
    const auto found = sparse_.find(index);
    return found != sparse_.end() ? &found->second : nullptr;
  }

 private:
  const std::uint32_t limit_;
  std::vector<Value> dense_;
  std::map<std::uint64_t, Value> sparse_;
};

// For one read.
class PickleMachine {
 public:
  PickleMachine(std::span<const std::byte> data, PickleHandler& handler,
                const PickleLimits& limits)
      : data_(data),
        handler_(handler),
        limits_(limits),
        memo_(limits.max_memo) {}

  Result<Value> Run() {
    while (true) {
      op_at_ = at_;
      if (at_ >= data_.size())
        return Here(BadPickle("the pickle ends without STOP"));
      op_ = static_cast<PickleOp>(data_[at_++]);
      if (op_ == PickleOp::kStop) {
        Result<Value> top = Pop();
        if (!top) return Here(Fail(top.error()));
        Result<void> sound = graph_.Release(*top, limits_.max_depth);
        if (!sound) return Here(Fail(sound.error()));
        return top;
      }
      Result<void> done = Step();
      if (!done) return Here(Fail(done.error()));
    }
  }

 private:
  tl::unexpected<Error> Here(tl::unexpected<Error> error) const {
    char where[64];
    std::snprintf(where, sizeof where, "pickle offset %zu, opcode 0x%02x",
                  op_at_, static_cast<unsigned>(op_));
    return Fail(error.value().WithContext(where));
  }

  // Operands.
  Result<std::span<const std::byte>> Take(std::uint64_t n) {
    if (n > data_.size() - at_) return BadPickle("the pickle is cut short");
    const auto out = data_.subspan(at_, n);
    at_ += n;
    return out;
  }
  Result<std::uint64_t> Little(std::size_t n) {
    if (n == 1 && at_ < data_.size()) {
      return std::to_integer<std::uint64_t>(data_[at_++]);
    }
    CKPTFS_ASSIGN_OR_RETURN(const auto bytes, Take(n));
    std::uint64_t value = 0;
    for (std::size_t i = n; i-- > 0;) {
      value = value << 8 | std::to_integer<std::uint64_t>(bytes[i]);
    }
    return value;
  }
  // `n` bytes behind a length of `length_bytes`.
  Result<std::string> Counted(std::size_t length_bytes) {
    CKPTFS_ASSIGN_OR_RETURN(const std::uint64_t n, Little(length_bytes));
    if (n > limits_.max_string_bytes) {
      return BadPickle("a length of " + std::to_string(n) +
                       " bytes, over the limit");
    }
    CKPTFS_ASSIGN_OR_RETURN(const auto bytes, Take(n));
    return std::string(reinterpret_cast<const char*>(bytes.data()),
                       bytes.size());
  }
  Result<std::string> Line() {
    const auto rest = data_.subspan(at_);
    const auto end = std::find(rest.begin(), rest.end(), std::byte{'\n'});
    if (end == rest.end()) return BadPickle("the pickle is cut short");
    const auto n = static_cast<std::size_t>(end - rest.begin());
    at_ += n + 1;
    return std::string(reinterpret_cast<const char*>(rest.data()), n);
  }

  // The stack. Nothing below the last mark is reached.
  std::size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  Result<void> Push(Value value) {
    if (++values_ > limits_.max_values) {
      return BadPickle("more than " + std::to_string(limits_.max_values) +
                       " values");
    }
    stack_.push_back(std::move(value));
    return {};
  }
  Result<void> PushNew(Value value) {
    graph_.Add(value);
    return Push(std::move(value));
  }
  Result<Value> Pop() {
    if (stack_.size() <= floor()) return BadPickle("a stack underflow");
    Value value = std::move(stack_.back());
    stack_.pop_back();
    return value;
  }
  Result<Value*> Top() {
    if (stack_.size() <= floor()) return BadPickle("a stack underflow");
    return &stack_.back();
  }
  Result<std::vector<Value>> PopToMark() {
    if (marks_.empty()) return BadPickle("no MARK");
    const std::size_t begin = marks_.back();
    marks_.pop_back();
    std::vector<Value> out(
        std::make_move_iterator(stack_.begin() + static_cast<long>(begin)),
        std::make_move_iterator(stack_.end()));
    stack_.resize(begin);
    return out;
  }

  Result<void> Step();
  Result<void> PushText(std::size_t length_bytes);
  Result<void> PushInteger(std::string bytes);
  Result<void> PushGlobal(std::string module, std::string name);
  Result<void> PushTuple(std::size_t n);
  Result<void> PutMemo(std::uint64_t index);
  Result<void> GetMemo(std::uint64_t index);
  Result<void> Drop();
  Result<void> Charge(std::uint64_t copied);
  Result<void> Call(const Global& global, const std::vector<Value>& args);
  Result<void> Reduce();
  Result<void> NewObject(bool with_kwargs);
  Result<void> Build();
  Result<void> AppendAll(std::vector<Value> values);
  Result<void> SetAll(std::vector<Value> values);
  Result<void> AddAll(std::vector<Value> values);

  const std::span<const std::byte> data_;
  PickleHandler& handler_;
  const PickleLimits& limits_;
  std::size_t at_ = 0;
  std::size_t op_at_ = 0;
  PickleOp op_{};
  std::uint64_t values_ = 0;
  std::uint64_t copied_ = 0;
  std::uint64_t protocol_ = 0;
  // Destroyed last, so that it still holds what the others let go of.
  ValueGraph graph_;
  PickleMemo memo_;
  std::vector<Value> stack_;
  std::vector<std::size_t> marks_;
};

}  // namespace ckptfs
