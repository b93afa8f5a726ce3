#include "checkpoint/pickle/pickle_reader.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

#include "checkpoint/pickle/opcodes.h"
#include "checkpoint/pickle/value_graph.h"

namespace ckptfs {

namespace {

tl::unexpected<Error> Bad(const std::string& why) {
  return Fail(ErrorCode::kInvalidArgument, why);
}

// Picklers number what they memoize from 0; anything else goes to a map, so
// that one large number does not cost memory.
class Memo {
 public:
  explicit Memo(std::uint32_t limit) : limit_(limit) {}

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
  std::unordered_map<std::uint64_t, Value> sparse_;
};

// _codecs.encode(text, "latin1"): how protocol 2 carries bytes.
Result<Bytes> Latin1(const std::string& text) {
  Bytes out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c < 0x80) {
      out.data.push_back(static_cast<char>(c));
      continue;
    }
    const auto next = i + 1 < text.size()
                          ? static_cast<unsigned char>(text[i + 1])
                          : std::uint8_t{0};
    if ((c != 0xc2 && c != 0xc3) || (next & 0xc0) != 0x80) {
      return Bad("_codecs.encode of a str that is not latin-1");
    }
    out.data.push_back(static_cast<char>((c & 3) << 6 | (next & 0x3f)));
    ++i;
  }
  return out;
}

bool IsBuiltin(const Global& global, std::string_view name) {
  return (global.module == "builtins" || global.module == "__builtin__") &&
         global.name == name;
}

class Machine {
 public:
  Machine(std::span<const std::byte> data, PickleHandler& handler,
          const PickleLimits& limits)
      : data_(data),
        handler_(handler),
        limits_(limits),
        memo_(limits.max_memo) {}

  Result<Value> Run() {
    while (true) {
      op_at_ = at_;
      if (at_ >= data_.size()) return Here(Bad("the pickle ends without STOP"));
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
    if (n > data_.size() - at_) return Bad("the pickle is cut short");
    const auto out = data_.subspan(at_, n);
    at_ += n;
    return out;
  }
  Result<std::uint64_t> Little(std::size_t n) {
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
      return Bad("a length of " + std::to_string(n) + " bytes, over the limit");
    }
    CKPTFS_ASSIGN_OR_RETURN(const auto bytes, Take(n));
    return std::string(reinterpret_cast<const char*>(bytes.data()),
                       bytes.size());
  }
  Result<std::string> Line() {
    const auto rest = data_.subspan(at_);
    const auto end = std::find(rest.begin(), rest.end(), std::byte{'\n'});
    if (end == rest.end()) return Bad("the pickle is cut short");
    const auto n = static_cast<std::size_t>(end - rest.begin());
    at_ += n + 1;
    return std::string(reinterpret_cast<const char*>(rest.data()), n);
  }

  // The stack. Nothing below the last mark is reached.
  std::size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  Result<void> Push(Value value) {
    if (++values_ > limits_.max_values) {
      return Bad("more than " + std::to_string(limits_.max_values) + " values");
    }
    stack_.push_back(std::move(value));
    return {};
  }
  Result<void> PushNew(Value value) {
    graph_.Add(value);
    return Push(std::move(value));
  }
  Result<Value> Pop() {
    if (stack_.size() <= floor()) return Bad("a stack underflow");
    Value value = std::move(stack_.back());
    stack_.pop_back();
    return value;
  }
  Result<Value*> Top() {
    if (stack_.size() <= floor()) return Bad("a stack underflow");
    return &stack_.back();
  }
  Result<std::vector<Value>> PopToMark() {
    if (marks_.empty()) return Bad("no MARK");
    const std::size_t begin = marks_.back();
    marks_.pop_back();
    std::vector<Value> out(
        std::make_move_iterator(stack_.begin() + static_cast<long>(begin)),
        std::make_move_iterator(stack_.end()));
    stack_.resize(begin);
    return out;
  }

  Result<void> Step();
  Result<void> PushInteger(std::string bytes);
  Result<void> PushGlobal(std::string module, std::string name);
  Result<void> PushTuple(std::size_t n);
  Result<void> PutMemo(std::uint64_t index);
  Result<void> GetMemo(std::uint64_t index);
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
  // Destroyed last, so that it still holds what the others let go of.
  ValueGraph graph_;
  Memo memo_;
  std::vector<Value> stack_;
  std::vector<std::size_t> marks_;
};

Result<void> Machine::Step() {
  switch (op_) {
    case PickleOp::kProto: {
      CKPTFS_ASSIGN_OR_RETURN(const std::uint64_t version, Little(1));
      if (version > 5) {
        return Bad("protocol " + std::to_string(version) +
                   "; 2 to 5 are read here");
      }
      return {};
    }
    case PickleOp::kFrame: {
      CKPTFS_ASSIGN_OR_RETURN(const std::uint64_t n, Little(8));
      if (n > data_.size() - at_) return Bad("a frame that is cut short");
      return {};
    }
    case PickleOp::kMark: marks_.push_back(stack_.size()); return {};
    case PickleOp::kPop:
      if (stack_.size() == floor() && !marks_.empty()) {
        marks_.pop_back();
        return {};
      }
      CKPTFS_RETURN_IF_ERROR(Pop());
      return {};
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
      CKPTFS_ASSIGN_OR_RETURN(std::string text, Counted(1));
      return Push(Value(std::move(text)));
    }
    case PickleOp::kBinString:
    case PickleOp::kBinUnicode: {
      CKPTFS_ASSIGN_OR_RETURN(std::string text, Counted(4));
      return Push(Value(std::move(text)));
    }
    case PickleOp::kBinUnicode8: {
      CKPTFS_ASSIGN_OR_RETURN(std::string text, Counted(8));
      return Push(Value(std::move(text)));
    }
    case PickleOp::kShortBinBytes:
    case PickleOp::kBinBytes:
    case PickleOp::kBinBytes8:
    case PickleOp::kByteArray8: {
      const std::size_t length = op_ == PickleOp::kShortBinBytes ? 1
                                 : op_ == PickleOp::kBinBytes    ? 4
                                                                 : 8;
      CKPTFS_ASSIGN_OR_RETURN(std::string bytes, Counted(length));
      return Push(Value(Bytes{std::move(bytes)}));
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
      return PushNew(Value(Set{std::move(items)}));
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
        return Bad("STACK_GLOBAL without two strs");
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
  return Bad("an opcode that is not read here");
}

Result<void> Machine::PushInteger(std::string bytes) {
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

Result<void> Machine::PushGlobal(std::string module, std::string name) {
  Global global{std::move(module), std::move(name)};
  CKPTFS_RETURN_IF_ERROR(handler_.CheckGlobal(global));
  return Push(Value(std::move(global)));
}

Result<void> Machine::PushTuple(std::size_t n) {
  if (stack_.size() - floor() < n) return Bad("a stack underflow");
  Tuple tuple;
  tuple.items.assign(
      std::make_move_iterator(stack_.end() - static_cast<long>(n)),
      std::make_move_iterator(stack_.end()));
  stack_.resize(stack_.size() - n);
  return PushNew(Value(std::move(tuple)));
}

Result<void> Machine::PutMemo(std::uint64_t index) {
  CKPTFS_ASSIGN_OR_RETURN(const Value* top, Top());
  if (!memo_.Put(index, *top)) {
    return Bad("more than " + std::to_string(limits_.max_memo) +
               " memo entries");
  }
  return {};
}

Result<void> Machine::GetMemo(std::uint64_t index) {
  const Value* value = memo_.Get(index);
  if (value == nullptr) {
    return Bad("memo entry " + std::to_string(index) + " was never set");
  }
  return Push(Value(*value));
}

Result<void> Machine::Reduce() {
  CKPTFS_ASSIGN_OR_RETURN(const Value args, Pop());
  CKPTFS_ASSIGN_OR_RETURN(const Value callable, Pop());
  const Global* global = callable.AsGlobal();
  if (global == nullptr) {
    return Bad("a call of a " + callable.TypeName() +
               ", which is no class or function by name");
  }
  const Tuple* tuple = args.AsTuple();
  if (tuple == nullptr) {
    return Bad("a call whose arguments are a " + args.TypeName());
  }
  const std::vector<Value>& items = tuple->items;
  if (*global == Global{"collections", "OrderedDict"} && items.size() <= 1) {
    Dict dict(Dict::Type::kOrderedDict);
    const List* pairs = items.empty() ? nullptr : items[0].AsList();
    if (!items.empty() && pairs == nullptr) {
      return Bad("an OrderedDict of something else than a list");
    }
    for (std::size_t i = 0; pairs != nullptr && i < pairs->items.size(); ++i) {
      const Value& pair = pairs->items[i];
      const std::vector<Value>* two = nullptr;
      if (const Tuple* t = pair.AsTuple()) two = &t->items;
      if (const List* l = pair.AsList()) two = &l->items;
      if (two == nullptr || two->size() != 2) {
        return Bad("an OrderedDict of something else than pairs");
      }
      dict.Append((*two)[0], (*two)[1]);
    }
    return PushNew(Value(std::move(dict)));
  }
  if (IsBuiltin(*global, "set") && items.size() == 1 &&
      items[0].AsList() != nullptr) {
    return PushNew(Value(Set{items[0].AsList()->items}));
  }
  // The empty bytes of protocol 2.
  if (IsBuiltin(*global, "bytes") && items.empty()) return Push(Value(Bytes()));
  if (*global == Global{"_codecs", "encode"} && items.size() == 2 &&
      items[0].AsString() != nullptr && items[1].AsString() != nullptr &&
      (*items[1].AsString() == "latin1" || *items[1].AsString() == "latin-1")) {
    CKPTFS_ASSIGN_OR_RETURN(Bytes bytes, Latin1(*items[0].AsString()));
    return Push(Value(std::move(bytes)));
  }
  CKPTFS_ASSIGN_OR_RETURN(Value made, handler_.Reduce(*global, items));
  return PushNew(std::move(made));
}

Result<void> Machine::NewObject(bool with_kwargs) {
  Object object;
  object.made = with_kwargs ? Object::Made::kNewEx : Object::Made::kNew;
  if (with_kwargs) {
    CKPTFS_ASSIGN_OR_RETURN(object.kwargs, Pop());
    if (object.kwargs.AsDict() == nullptr) {
      return Bad("NEWOBJ_EX without a dict");
    }
  }
  CKPTFS_ASSIGN_OR_RETURN(const Value args, Pop());
  CKPTFS_ASSIGN_OR_RETURN(const Value type, Pop());
  if (type.AsGlobal() == nullptr || args.AsTuple() == nullptr) {
    return Bad("a new object without class or arguments");
  }
  object.callable = *type.AsGlobal();
  object.args = args.AsTuple()->items;
  return PushNew(Value(std::move(object)));
}

Result<void> Machine::Build() {
  CKPTFS_ASSIGN_OR_RETURN(Value state, Pop());
  CKPTFS_ASSIGN_OR_RETURN(Value target, Pop());
  if (Object* object = target.AsObject()) {
    object->has_state = true;
    object->state = std::move(state);
    return Push(std::move(target));
  }
  if (Dict* dict = target.AsDict()) {
    if (state.AsDict() == nullptr) {
      return Bad("attributes of a dict that are a " + state.TypeName());
    }
    dict->attributes = std::move(state);
    return Push(std::move(target));
  }
  CKPTFS_ASSIGN_OR_RETURN(Value built,
                          handler_.Build(std::move(target), std::move(state)));
  return PushNew(std::move(built));
}

Result<void> Machine::AppendAll(std::vector<Value> values) {
  CKPTFS_ASSIGN_OR_RETURN(const Value* top, Top());
  std::vector<Value>* into = nullptr;
  if (List* list = top->AsList()) into = &list->items;
  if (Object* object = top->AsObject()) into = &object->list_items;
  if (into == nullptr) return Bad("APPEND to a " + top->TypeName());
  into->insert(into->end(), std::make_move_iterator(values.begin()),
               std::make_move_iterator(values.end()));
  return {};
}

Result<void> Machine::SetAll(std::vector<Value> values) {
  CKPTFS_ASSIGN_OR_RETURN(const Value* top, Top());
  if (values.size() % 2 != 0) return Bad("a key without a value");
  Dict* const dict = top->AsDict();
  Object* const object = top->AsObject();
  if (dict == nullptr && object == nullptr) {
    return Bad("SETITEM on a " + top->TypeName());
  }
  for (std::size_t i = 0; i < values.size(); i += 2) {
    if (dict != nullptr) {
      dict->Append(std::move(values[i]), std::move(values[i + 1]));
    } else {
      object->dict_items.emplace_back(std::move(values[i]),
                                      std::move(values[i + 1]));
    }
  }
  return {};
}

Result<void> Machine::AddAll(std::vector<Value> values) {
  CKPTFS_ASSIGN_OR_RETURN(const Value* top, Top());
  Set* const set = top->AsSet();
  if (set == nullptr) return Bad("ADDITEMS to a " + top->TypeName());
  set->items.insert(set->items.end(), std::make_move_iterator(values.begin()),
                    std::make_move_iterator(values.end()));
  return {};
}

// Notes what is named; everything is allowed.
class GlobalScan final : public PickleHandler {
 public:
  Result<void> CheckGlobal(const Global& global) override {
    if (std::find(seen.begin(), seen.end(), global) == seen.end()) {
      seen.push_back(global);
    }
    return {};
  }
  std::vector<Global> seen;
};

}  // namespace

Result<void> PickleHandler::CheckGlobal(const Global&) { return {}; }

Result<Value> PickleHandler::Reduce(const Global& callable,
                                    std::vector<Value> args) {
  Object object;
  object.callable = callable;
  object.args = std::move(args);
  return Value(std::move(object));
}

Result<Value> PickleHandler::Persistent(const Value& id) {
  Object object;
  object.made = Object::Made::kPersistent;
  object.args = {id};
  return Value(std::move(object));
}

Result<Value> PickleHandler::Build(Value target, Value) {
  return Bad("attributes of a " + target.TypeName());
}

Result<Value> ReadPickle(std::span<const std::byte> data,
                         PickleHandler& handler, const PickleLimits& limits) {
  Machine machine(data, handler, limits);
  return machine.Run();
}

Result<std::vector<Global>> ScanPickleGlobals(std::span<const std::byte> data,
                                              const PickleLimits& limits) {
  GlobalScan scan;
  CKPTFS_RETURN_IF_ERROR(ReadPickle(data, scan, limits));
  return std::move(scan.seen);
}

}  // namespace ckptfs
