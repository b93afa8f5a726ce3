#include "checkpoint/pickle/pickle_writer.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "checkpoint/pickle/compat_names.h"
#include "checkpoint/pickle/opcodes.h"
#include "checkpoint/pickle/python_text.h"

namespace ckptfs {

namespace {

// What lies in the innermost of the containers that PickleLimits::max_depth
// allows counts too.
constexpr int kMaxDepth = 201;
// Lib/pickle.py: _BATCHSIZE.
constexpr std::size_t kBatch = 1000;

// As a key of a dict or an item of a set. Of tuples in tuples the first
// `budget` items are looked at: shared ones may stand for very many.
bool IsHashable(const Value& value, int& budget) {
  if (const Tuple* tuple = value.AsTuple()) {
    for (const Value& item : tuple->items) {
      if (--budget < 0) return true;
      if (!IsHashable(item, budget)) return false;
    }
  }
  return value.AsList() == nullptr && value.AsDict() == nullptr &&
         value.AsSet() == nullptr;
}

bool IsHashable(const Value& value) {
  int budget = 1000;
  return IsHashable(value, budget);
}

tl::unexpected<Error> Unhashable(const Value& value) {
  return Fail(ErrorCode::kInvalidArgument,
              "a " + value.TypeName() + " as a key or in a set");
}

class Writer {
 public:
  explicit Writer(PickleStorages& storages) : storages_(storages) {}

  Result<std::string> Run(const Value& value) {
    Op(PickleOp::kProto);
    Fixed(2, 1);
    CKPTFS_RETURN_IF_ERROR(Write(value));
    Op(PickleOp::kStop);
    return std::move(out_);
  }

 private:
  void Op(PickleOp op) { out_.push_back(static_cast<char>(op)); }
  void Fixed(std::uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) {
      out_.push_back(static_cast<char>(value >> (8 * i) & 0xFF));
    }
  }

  void PutMemo(std::uint32_t index) {
    if (index < 256) {
      Op(PickleOp::kBinPut);
      Fixed(index, 1);
    } else {
      Op(PickleOp::kLongBinPut);
      Fixed(index, 4);
    }
  }
  void GetMemo(std::uint32_t index) {
    if (index < 256) {
      Op(PickleOp::kBinGet);
      Fixed(index, 1);
    } else {
      Op(PickleOp::kLongBinGet);
      Fixed(index, 4);
    }
  }
  // True, and written, if the object is in the memo.
  Result<bool> Known(const void* identity) {
    const auto found = objects_.find(identity);
    if (found == objects_.end()) return false;
    if (open_.contains(identity)) {
      return Fail(ErrorCode::kInvalidArgument, "a value that contains itself");
    }
    GetMemo(found->second);
    return true;
  }
  void Remember(const void* identity) {
    objects_[identity] = next_memo_;
    PutMemo(next_memo_++);
  }

  void Int(std::int64_t value);
  Result<void> String(const std::string& text);
  Result<void> Name(const std::string& module, const std::string& name);
  Result<void> ClassName(const Global& global);
  Result<void> BytesOf(const std::string& data);
  // Opens with MARK where more than three; `Tuple` closes.
  Result<void> TupleOf(const std::vector<Value>& items);
  void IntTuple(const std::vector<std::int64_t>& items);
  void CloseTuple(std::size_t n);
  Result<void> ListItems(const std::vector<Value>& items);
  Result<void> DictItems(const std::vector<Dict::Item>& items);

  Result<void> Write(const Value& value);
  Result<void> operator()(std::monostate);
  Result<void> operator()(bool value);
  Result<void> operator()(std::int64_t value);
  Result<void> operator()(const std::shared_ptr<const BigInt>& value);
  Result<void> operator()(double value);
  Result<void> operator()(const std::shared_ptr<const std::string>& value) {
    return String(*value);
  }
  Result<void> operator()(const std::shared_ptr<const Bytes>& value) {
    return BytesOf(value->data);
  }
  Result<void> operator()(const std::shared_ptr<const Global>& value) {
    return ClassName(*value);
  }
  Result<void> operator()(
      const std::shared_ptr<const StorageReference>& value) {
    return StorageId(*value);
  }
  Result<void> operator()(const std::shared_ptr<List>& value);
  Result<void> operator()(const std::shared_ptr<Tuple>& value);
  Result<void> operator()(const std::shared_ptr<Dict>& value);
  Result<void> operator()(const std::shared_ptr<Set>& value);
  Result<void> operator()(const std::shared_ptr<Object>& value);
  Result<void> operator()(const std::shared_ptr<TensorView>& value);
  Result<void> StorageId(const StorageReference& value);
  friend struct Visit;

  PickleStorages& storages_;
  std::string out_;
  int depth_ = 0;
  std::uint32_t next_memo_ = 0;
  std::unordered_map<const void*, std::uint32_t> objects_;
  std::unordered_map<std::string, std::uint32_t> strings_;
  std::unordered_map<std::string, std::uint32_t> bytes_;
  std::unordered_map<std::string, std::uint32_t> names_;
  std::unordered_map<const Storage*, DType> dtypes_;
  // In the memo, and not complete yet.
  std::unordered_set<const void*> open_;
};

struct Visit {
  Writer& writer;
  template <typename T>
  Result<void> operator()(const T& value) {
    return writer(value);
  }
  template <typename T>
  Result<void> operator()(const std::shared_ptr<T>& value) {
    if (value == nullptr) {
      return Fail(ErrorCode::kInvalidArgument,
                  "a value that is a null pointer");
    }
    return writer(value);
  }
};

Result<void> Writer::Write(const Value& value) {
  if (++depth_ > kMaxDepth) {
    return Fail(ErrorCode::kInvalidArgument, "values that nest deeper than " +
                                                 std::to_string(kMaxDepth) +
                                                 " levels");
  }
  Result<void> written = std::visit(Visit{*this}, value.variant());
  --depth_;
  return written;
}

Result<void> Writer::operator()(std::monostate) {
  Op(PickleOp::kNone);
  return {};
}

Result<void> Writer::operator()(bool value) {
  Op(value ? PickleOp::kNewTrue : PickleOp::kNewFalse);
  return {};
}

Result<void> Writer::operator()(std::int64_t value) {
  Int(value);
  return {};
}

void Writer::Int(std::int64_t value) {
  if (value >= 0 && value <= 0xFF) {
    Op(PickleOp::kBinInt1);
    Fixed(static_cast<std::uint64_t>(value), 1);
  } else if (value >= 0 && value <= 0xFFFF) {
    Op(PickleOp::kBinInt2);
    Fixed(static_cast<std::uint64_t>(value), 2);
  } else if (value >= std::numeric_limits<std::int32_t>::min() &&
             value <= std::numeric_limits<std::int32_t>::max()) {
    Op(PickleOp::kBinInt);
    Fixed(static_cast<std::uint64_t>(value), 4);
  } else {
    // As few bytes as keep the sign.
    int bytes = 8;
    while (bytes > 1 && value >> (8 * bytes - 9) == value >> 63) --bytes;
    Op(PickleOp::kLong1);
    Fixed(static_cast<std::uint64_t>(bytes), 1);
    Fixed(static_cast<std::uint64_t>(value), bytes);
  }
}

Result<void> Writer::operator()(const std::shared_ptr<const BigInt>& value) {
  if (value->data.size() > 255) {
    // LONG4 is not among the opcodes of weights_only.
    return Fail(ErrorCode::kUnsupported, "an int of more than 255 bytes");
  }
  Op(PickleOp::kLong1);
  Fixed(value->data.size(), 1);
  out_ += value->data;
  return {};
}

Result<void> Writer::operator()(double value) {
  Op(PickleOp::kBinFloat);
  Fixed(__builtin_bswap64(std::bit_cast<std::uint64_t>(value)), 8);
  return {};
}

Result<void> Writer::String(const std::string& text) {
  const auto known = strings_.find(text);
  if (known != strings_.end()) {
    GetMemo(known->second);
    return {};
  }
  if (!IsPythonText(text)) {
    return Fail(ErrorCode::kInvalidArgument,
                "a str that is no UTF-8; put other bytes into Bytes");
  }
  if (text.size() > 0xFFFFFFFF) {
    return Fail(ErrorCode::kInvalidArgument,
                "a str of " + std::to_string(text.size()) + " bytes");
  }
  Op(PickleOp::kBinUnicode);
  Fixed(text.size(), 4);
  out_ += text;
  strings_[text] = next_memo_;
  PutMemo(next_memo_++);
  return {};
}

Result<void> Writer::Name(const std::string& module, const std::string& name) {
  const std::string lines = module + "\n" + name + "\n";
  if (std::count(lines.begin(), lines.end(), '\n') != 2) {
    return Fail(ErrorCode::kInvalidArgument,
                "a class whose name has a line break");
  }
  const auto known = names_.find(lines);
  if (known != names_.end()) {
    GetMemo(known->second);
    return {};
  }
  Op(PickleOp::kGlobal);
  out_ += lines;
  names_[lines] = next_memo_;
  PutMemo(next_memo_++);
  return {};
}

// A class that a value names.
Result<void> Writer::ClassName(const Global& global) {
  // In protocol 2 the names of Python 2 mean what these are called now.
  if (Python3Name(global) != global) {
    return Fail(ErrorCode::kUnsupported,
                "the class " + global.module + "." + global.name +
                    ", whose name protocol 2 of pickle reads as another");
  }
  return Name(global.module, global.name);
}

Result<void> Writer::BytesOf(const std::string& data) {
  const auto known = bytes_.find(data);
  if (known != bytes_.end()) {
    GetMemo(known->second);
    return {};
  }
  std::string text;  // latin-1 as UTF-8
  for (const unsigned char c : data) {
    if (c < 0x80) {
      text.push_back(static_cast<char>(c));
    } else {
      text.push_back(static_cast<char>(0xc0 | c >> 6));
      text.push_back(static_cast<char>(0x80 | (c & 0x3f)));
    }
  }
  CKPTFS_RETURN_IF_ERROR(Name("_codecs", "encode"));
  CKPTFS_RETURN_IF_ERROR(String(text));
  CKPTFS_RETURN_IF_ERROR(String("latin1"));
  Op(PickleOp::kTuple2);
  Op(PickleOp::kReduce);
  // As for strs: equal ones are one. Made anew each time, a long one would cost
  // the reader its length with a few bytes of pickle.
  bytes_[data] = next_memo_;
  PutMemo(next_memo_++);
  return {};
}

void Writer::CloseTuple(std::size_t n) {
  switch (n) {
    case 0: Op(PickleOp::kEmptyTuple); return;
    case 1: Op(PickleOp::kTuple1); return;
    case 2: Op(PickleOp::kTuple2); return;
    case 3: Op(PickleOp::kTuple3); return;
    default: Op(PickleOp::kTuple);
  }
}

Result<void> Writer::TupleOf(const std::vector<Value>& items) {
  if (items.size() > 3) Op(PickleOp::kMark);
  for (const Value& item : items) CKPTFS_RETURN_IF_ERROR(Write(item));
  CloseTuple(items.size());
  return {};
}

void Writer::IntTuple(const std::vector<std::int64_t>& items) {
  if (items.size() > 3) Op(PickleOp::kMark);
  for (const std::int64_t item : items) Int(item);
  CloseTuple(items.size());
}

Result<void> Writer::ListItems(const std::vector<Value>& items) {
  for (std::size_t i = 0; i < items.size(); i += kBatch) {
    const std::size_t n = std::min(kBatch, items.size() - i);
    if (n > 1) Op(PickleOp::kMark);
    for (std::size_t j = i; j < i + n; ++j) {
      CKPTFS_RETURN_IF_ERROR(Write(items[j]));
    }
    Op(n > 1 ? PickleOp::kAppends : PickleOp::kAppend);
  }
  return {};
}

Result<void> Writer::DictItems(const std::vector<Dict::Item>& items) {
  for (std::size_t i = 0; i < items.size(); i += kBatch) {
    const std::size_t n = std::min(kBatch, items.size() - i);
    if (n > 1) Op(PickleOp::kMark);
    for (std::size_t j = i; j < i + n; ++j) {
      CKPTFS_RETURN_IF_ERROR(Write(items[j].first));
      if (!IsHashable(items[j].first)) return Unhashable(items[j].first);
      CKPTFS_RETURN_IF_ERROR(Write(items[j].second));
    }
    Op(n > 1 ? PickleOp::kSetItems : PickleOp::kSetItem);
  }
  return {};
}

Result<void> Writer::operator()(const std::shared_ptr<List>& value) {
  CKPTFS_ASSIGN_OR_RETURN(const bool known, Known(value.get()));
  if (known) return {};
  Op(PickleOp::kEmptyList);
  Remember(value.get());
  open_.insert(value.get());
  CKPTFS_RETURN_IF_ERROR(ListItems(value->items));
  open_.erase(value.get());
  return {};
}

Result<void> Writer::operator()(const std::shared_ptr<Tuple>& value) {
  if (value->items.empty()) {
    Op(PickleOp::kEmptyTuple);
    return {};
  }
  CKPTFS_ASSIGN_OR_RETURN(const bool known, Known(value.get()));
  if (known) return {};
  CKPTFS_RETURN_IF_ERROR(TupleOf(value->items));
  Remember(value.get());
  return {};
}

Result<void> Writer::operator()(const std::shared_ptr<Dict>& value) {
  CKPTFS_ASSIGN_OR_RETURN(const bool known, Known(value.get()));
  if (known) return {};
  if (value->type() == Dict::Type::kOrderedDict) {
    CKPTFS_RETURN_IF_ERROR(Name("collections", "OrderedDict"));
    Op(PickleOp::kEmptyTuple);
    Op(PickleOp::kReduce);
  } else {
    Op(PickleOp::kEmptyDict);
  }
  Remember(value.get());
  open_.insert(value.get());
  CKPTFS_RETURN_IF_ERROR(DictItems(value->items()));
  if (!value->attributes.is_none()) {
    if (value->type() != Dict::Type::kOrderedDict ||
        value->attributes.AsDict() == nullptr) {
      return Fail(ErrorCode::kInvalidArgument,
                  "attributes that are no dict, or of a dict that is no "
                  "OrderedDict");
    }
    CKPTFS_RETURN_IF_ERROR(Write(value->attributes));
    Op(PickleOp::kBuild);
  }
  open_.erase(value.get());
  return {};
}

Result<void> Writer::operator()(const std::shared_ptr<Set>& value) {
  CKPTFS_ASSIGN_OR_RETURN(const bool known, Known(value.get()));
  if (known) return {};
  CKPTFS_RETURN_IF_ERROR(Name("__builtin__", "set"));
  Op(PickleOp::kEmptyList);
  CKPTFS_RETURN_IF_ERROR(ListItems(value->items));
  for (const Value& item : value->items) {
    if (!IsHashable(item)) return Unhashable(item);
  }
  Op(PickleOp::kTuple1);
  Op(PickleOp::kReduce);
  Remember(value.get());
  return {};
}

Result<void> Writer::operator()(const std::shared_ptr<Object>& value) {
  CKPTFS_ASSIGN_OR_RETURN(const bool known, Known(value.get()));
  if (known) return {};
  if (value->made != Object::Made::kReduce &&
      value->made != Object::Made::kNew) {
    return Fail(ErrorCode::kUnsupported,
                "an object of " + value->callable.module + "." +
                    value->callable.name +
                    " that protocol 2 of pickle cannot carry");
  }
  CKPTFS_RETURN_IF_ERROR(ClassName(value->callable));
  CKPTFS_RETURN_IF_ERROR(TupleOf(value->args));
  Op(value->made == Object::Made::kNew ? PickleOp::kNewObj : PickleOp::kReduce);
  Remember(value.get());
  open_.insert(value.get());
  CKPTFS_RETURN_IF_ERROR(ListItems(value->list_items));
  CKPTFS_RETURN_IF_ERROR(DictItems(value->dict_items));
  if (value->has_state) {
    CKPTFS_RETURN_IF_ERROR(Write(value->state));
    Op(PickleOp::kBuild);
  }
  open_.erase(value.get());
  return {};
}

// What torch would refuse to make.
Result<void> CheckLoadable(const TensorView& tensor, const DTypeInfo& info) {
  const std::string name(info.torch_name);
  if (name.starts_with('q')) {
    return Fail(ErrorCode::kUnsupported,
                "a tensor of " + name +
                    ": quantized ones are written as the Objects that they "
                    "are read as");
  }
  if (tensor.storage->bytes % info.bytes != 0) {
    return Fail(ErrorCode::kInvalidArgument,
                "a tensor of " + name + " in a storage of " +
                    std::to_string(tensor.storage->bytes) + " bytes");
  }
  const bool gradients = name.starts_with("float") ||
                         name.starts_with("bfloat") ||
                         name.starts_with("complex");
  if (tensor.requires_grad && !gradients) {
    return Fail(ErrorCode::kInvalidArgument,
                "a tensor of " + name + " that requires a gradient");
  }
  return {};
}

// A persistent id: ('storage', class, key, location, numel).
Result<void> Writer::StorageId(const StorageReference& value) {
  if (value.storage == nullptr) {
    return Fail(ErrorCode::kInvalidArgument, "a reference to no storage");
  }
  const DType dtype =
      DTypeFromStorageClass(value.type.name).value_or(DType::kUInt8);
  // torch.load makes one storage, of one type, of all that name its key; to it
  // UntypedStorage is one of uint8 (torch/serialization.py, persistent_id).
  const auto [first, added] = dtypes_.emplace(value.storage.get(), dtype);
  if (!added && first->second != dtype) {
    return Fail(ErrorCode::kInvalidArgument,
                "two tensors view one storage as " +
                    std::string(InfoOf(first->second).torch_name) + " and " +
                    std::string(InfoOf(dtype).torch_name) +
                    ", which torch cannot load; clone one of them");
  }
  Op(PickleOp::kMark);
  CKPTFS_RETURN_IF_ERROR(String("storage"));
  CKPTFS_RETURN_IF_ERROR(Name(value.type.module, value.type.name));
  CKPTFS_RETURN_IF_ERROR(String(storages_.KeyOf(value.storage)));
  CKPTFS_RETURN_IF_ERROR(String(value.storage->location));
  Int(static_cast<std::int64_t>(value.storage->bytes / SizeOf(dtype)));
  Op(PickleOp::kTuple);
  Op(PickleOp::kBinPersId);
  return {};
}

Result<void> Writer::operator()(const std::shared_ptr<TensorView>& value) {
  CKPTFS_ASSIGN_OR_RETURN(const bool known, Known(value.get()));
  if (known) return {};
  const TensorView& tensor = *value;
  CKPTFS_RETURN_IF_ERROR(CheckBounds(tensor));
  const DTypeInfo& info = InfoOf(tensor.dtype);
  CKPTFS_RETURN_IF_ERROR(CheckLoadable(tensor, info));
  const bool typed = !info.storage_class.empty();
  CKPTFS_RETURN_IF_ERROR(Name(
      "torch._utils", typed ? "_rebuild_tensor_v2" : "_rebuild_tensor_v3"));
  Op(PickleOp::kMark);
  StorageReference reference{{"torch.storage", "UntypedStorage"},
                             tensor.storage};
  if (typed) reference.type = {"torch", std::string(info.storage_class)};
  CKPTFS_RETURN_IF_ERROR(StorageId(reference));
  Int(tensor.offset);
  IntTuple(tensor.shape);
  IntTuple(tensor.strides);
  Op(tensor.requires_grad ? PickleOp::kNewTrue : PickleOp::kNewFalse);
  // The backward hooks: none.
  CKPTFS_RETURN_IF_ERROR(Name("collections", "OrderedDict"));
  Op(PickleOp::kEmptyTuple);
  Op(PickleOp::kReduce);
  if (!typed) {
    CKPTFS_RETURN_IF_ERROR(Name("torch", std::string(info.torch_name)));
  }
  Op(PickleOp::kTuple);
  Op(PickleOp::kReduce);
  Remember(value.get());
  return {};
}

}  // namespace

Result<std::string> WritePickle(const Value& value, PickleStorages& storages) {
  return Writer(storages).Run(value);
}

}  // namespace ckptfs
