// PickleMachine: the opcodes, and what they do to stack and memo.
#include "checkpoint/pickle/pickle_machine.h"

#include <bit>
#include <cstring>

#include "checkpoint/pickle/compat_names.h"
#include "checkpoint/pickle/python_text.h"

namespace ckptfs {

Result<void> PickleMachine::Step() {
  switch (op_) {
    case PickleOp::kProto: {
      CKPTFS_ASSIGN_OR_RETURN(const std::uint64_t version, Little(1));
      if (version > 5) {
        return BadPickle("protocol " + std::to_string(version) +
                         "; 2 to 5 are read here");
      }
      protocol_ = version;
      return {};
    }
    case PickleOp::kFrame: {
      CKPTFS_ASSIGN_OR_RETURN(const std::uint64_t n, Little(8));
      if (n > data_.size() - at_) return BadPickle("a frame that is cut short");
      return {};
    }
    case PickleOp::kMark: marks_.push_back(stack_.size()); return {};
    case PickleOp::kPop:
      if (stack_.size() == floor() && !marks_.empty()) {
        marks_.pop_back();
        return {};
      }
      return Drop();
    case PickleOp::kPopMark: CKPTFS_RETURN_IF_ERROR(PopToMark()); return {};
    case PickleOp::kDup: {
      CKPTFS_ASSIGN_OR_RETURN(Value * top, Top());
      return Push(Value(*top));
    }
    case PickleOp::kNone: return Push(Value());
    case PickleOp::kNewTrue: return Push(Value(true));
    case PickleOp::kNewFalse: return Push(Value(false));
    case PickleOp::kBinInt: {
      CKPTFS_ASSIGN_OR_RETURN(const std::uint64_t n, Little(4));
      return Push(Value(std::int64_t{static_cast<std::int32_t>(n)}));
    }
    case PickleOp::kBinInt1:
    case PickleOp::kBinInt2: {
      CKPTFS_ASSIGN_OR_RETURN(const std::uint64_t n,
                              Little(op_ == PickleOp::kBinInt1 ? 1 : 2));
      return Push(Value(static_cast<std::int64_t>(n)));
    }
    case PickleOp::kLong1:
    case PickleOp::kLong4: {
      CKPTFS_ASSIGN_OR_RETURN(std::string bytes,
                              Counted(op_ == PickleOp::kLong1 ? 1 : 4));
      return PushInteger(std::move(bytes));
    }
    case PickleOp::kBinFloat: {
      // The only big-endian number of the format.
      CKPTFS_ASSIGN_OR_RETURN(const std::uint64_t bits, Little(8));
      return Push(Value(std::bit_cast<double>(__builtin_bswap64(bits))));
    }
    case PickleOp::kShortBinString:
    case PickleOp::kShortBinUnicode: {
      return PushText(1);
    }
    case PickleOp::kBinString:
    case PickleOp::kBinUnicode: {
      return PushText(4);
    }
    case PickleOp::kBinUnicode8: {
      return PushText(8);
    }
    case PickleOp::kShortBinBytes:
    case PickleOp::kBinBytes:
    case PickleOp::kBinBytes8:
    case PickleOp::kByteArray8: {
      const std::size_t length = op_ == PickleOp::kShortBinBytes ? 1
                                 : op_ == PickleOp::kBinBytes    ? 4
                                                                 : 8;
      CKPTFS_ASSIGN_OR_RETURN(std::string bytes, Counted(length));
      Value value(Bytes{std::move(bytes)});
      if (op_ != PickleOp::kByteArray8) return Push(std::move(value));
      return Call({"builtins", "bytearray"}, {std::move(value)});
    }
    case PickleOp::kEmptyDict: return PushNew(Value(Dict()));
    case PickleOp::kEmptyList: return PushNew(Value(List()));
    case PickleOp::kEmptySet: return PushNew(Value(Set()));
    case PickleOp::kEmptyTuple: return PushTuple(0);
    case PickleOp::kTuple1: return PushTuple(1);
    case PickleOp::kTuple2: return PushTuple(2);
    case PickleOp::kTuple3: return PushTuple(3);
    case PickleOp::kTuple: {
      CKPTFS_ASSIGN_OR_RETURN(std::vector<Value> items, PopToMark());
      return PushNew(Value(Tuple{std::move(items)}));
    }
    case PickleOp::kList: {
      CKPTFS_ASSIGN_OR_RETURN(std::vector<Value> items, PopToMark());
      return PushNew(Value(List{std::move(items)}));
    }
    case PickleOp::kFrozenSet: {
      CKPTFS_ASSIGN_OR_RETURN(std::vector<Value> items, PopToMark());
      Value list(List{std::move(items)});
      graph_.Add(list);
      return Call({"builtins", "frozenset"}, {std::move(list)});
    }
    case PickleOp::kDict: {
      CKPTFS_ASSIGN_OR_RETURN(std::vector<Value> items, PopToMark());
      CKPTFS_RETURN_IF_ERROR(PushNew(Value(Dict())));
      return SetAll(std::move(items));
    }
    case PickleOp::kAppend: {
      CKPTFS_ASSIGN_OR_RETURN(Value item, Pop());
      return AppendAll({std::move(item)});
    }
    case PickleOp::kAppends: {
      CKPTFS_ASSIGN_OR_RETURN(std::vector<Value> items, PopToMark());
      return AppendAll(std::move(items));
    }
    case PickleOp::kSetItem: {
      CKPTFS_ASSIGN_OR_RETURN(Value value, Pop());
      CKPTFS_ASSIGN_OR_RETURN(Value key, Pop());
      return SetAll({std::move(key), std::move(value)});
    }
    case PickleOp::kSetItems: {
      CKPTFS_ASSIGN_OR_RETURN(std::vector<Value> items, PopToMark());
      return SetAll(std::move(items));
    }
    case PickleOp::kAddItems: {
      CKPTFS_ASSIGN_OR_RETURN(std::vector<Value> items, PopToMark());
      return AddAll(std::move(items));
    }
    case PickleOp::kGlobal: {
      CKPTFS_ASSIGN_OR_RETURN(std::string module, Line());
      CKPTFS_ASSIGN_OR_RETURN(std::string name, Line());
      return PushGlobal(std::move(module), std::move(name));
    }
    case PickleOp::kStackGlobal: {
      CKPTFS_ASSIGN_OR_RETURN(const Value name, Pop());
      CKPTFS_ASSIGN_OR_RETURN(const Value module, Pop());
      if (name.AsString() == nullptr || module.AsString() == nullptr) {
        return BadPickle("STACK_GLOBAL without two strs");
      }
      return PushGlobal(*module.AsString(), *name.AsString());
    }
    case PickleOp::kBinPersId: {
      CKPTFS_ASSIGN_OR_RETURN(const Value id, Pop());
      CKPTFS_ASSIGN_OR_RETURN(Value value, handler_.Persistent(id));
      return PushNew(std::move(value));
    }
    case PickleOp::kReduce: return Reduce();
    case PickleOp::kNewObj: return NewObject(false);
    case PickleOp::kNewObjEx: return NewObject(true);
    case PickleOp::kBuild: return Build();
    case PickleOp::kMemoize: return PutMemo(memo_.size());
    case PickleOp::kBinPut:
    case PickleOp::kLongBinPut: {
      CKPTFS_ASSIGN_OR_RETURN(const std::uint64_t index,
                              Little(op_ == PickleOp::kBinPut ? 1 : 4));
      return PutMemo(index);
    }
    case PickleOp::kBinGet:
    case PickleOp::kLongBinGet: {
      CKPTFS_ASSIGN_OR_RETURN(const std::uint64_t index,
                              Little(op_ == PickleOp::kBinGet ? 1 : 4));
      return GetMemo(index);
    }
    case PickleOp::kStop: break;  // Run
  }
  return BadPickle("an opcode that is not read here");
}

Result<void> PickleMachine::PushText(std::size_t length_bytes) {
  CKPTFS_ASSIGN_OR_RETURN(std::string text, Counted(length_bytes));
  if (!IsPythonText(text)) return BadPickle("a str that is no UTF-8");
  return Push(Value(std::move(text)));
}

Result<void> PickleMachine::PushInteger(std::string bytes) {
  const bool negative =
      !bytes.empty() && (static_cast<unsigned char>(bytes.back()) & 0x80) != 0;
  const char fill = negative ? '\xff' : '\0';
  while (bytes.size() > 8 && bytes.back() == fill &&
         ((static_cast<unsigned char>(bytes[bytes.size() - 2]) & 0x80) != 0) ==
             negative) {
    bytes.pop_back();
  }
  if (bytes.size() > 8) return Push(Value(BigInt{std::move(bytes)}));
  bytes.resize(8, fill);
  std::int64_t value = 0;
  std::memcpy(&value, bytes.data(), 8);
  return Push(Value(value));
}

Result<void> PickleMachine::PushGlobal(std::string module, std::string name) {
  Global global{std::move(module), std::move(name)};
  if (protocol_ <= 2) global = Python3Name(std::move(global));
  CKPTFS_RETURN_IF_ERROR(handler_.CheckGlobal(global));
  return Push(Value(std::move(global)));
}

Result<void> PickleMachine::PushTuple(std::size_t n) {
  if (stack_.size() - floor() < n) return BadPickle("a stack underflow");
  Tuple tuple;
  tuple.items.assign(
      std::make_move_iterator(stack_.end() - static_cast<long>(n)),
      std::make_move_iterator(stack_.end()));
  stack_.resize(stack_.size() - n);
  return PushNew(Value(std::move(tuple)));
}

Result<void> PickleMachine::PutMemo(std::uint64_t index) {
  CKPTFS_ASSIGN_OR_RETURN(const Value* top, Top());
  if (!memo_.Put(index, *top)) {
    return BadPickle("more than " + std::to_string(limits_.max_memo) +
                     " memo entries");
  }
  return {};
}

Result<void> PickleMachine::GetMemo(std::uint64_t index) {
  const Value* value = memo_.Get(index);
  if (value == nullptr) {
    return BadPickle("memo entry " + std::to_string(index) + " was never set");
  }
  return Push(Value(*value));
}

}  // namespace ckptfs
