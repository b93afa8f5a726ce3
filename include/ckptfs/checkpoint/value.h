// Value: the Python values that checkpoints are made of, as data. What torch
// knows as tensors are TensorViews; every class that is neither a container nor
// a scalar is an Object, which carries its pickle through unchanged and is
// never run.
#pragma once

#include <ckptfs/checkpoint/tensor_view.h>
#include <ckptfs/export.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

namespace ckptfs {

class Value;
struct List;
struct Tuple;
struct Set;
struct Object;
class Dict;

// A `bytes` object; a std::string in a Value is a `str`, in UTF-8.
struct Bytes {
  std::string data;
  friend bool operator==(const Bytes&, const Bytes&) = default;
};

// An int beyond 64 bits: two's complement, little-endian, as pickle's LONG1.
struct BigInt {
  std::string data;
  friend bool operator==(const BigInt&, const BigInt&) = default;
};

// A class or function by name, e.g. {"torch", "float32"}; not an instance.
struct Global {
  std::string module;
  std::string name;
  bool Is(std::string_view in_module, std::string_view of_name) const {
    return module == in_module && name == of_name;
  }
  friend bool operator==(const Global&, const Global&) = default;
};

// A storage by itself, e.g. that of a quantized tensor, under the class that
// names its element type: {"torch", "QInt8Storage"}.
struct StorageReference {
  Global type;
  std::shared_ptr<Storage> storage;
};

// Cheap to copy: containers are shared, as they are in Python, and two Values
// of one container see each other's changes; what cannot change is shared too.
// Not thread-safe while anybody changes a container. A Value never contains
// itself: readers refuse cycles.
class CKPTFS_EXPORT Value {
 public:
  using Variant =
      std::variant<std::monostate,  // None
                   bool, std::int64_t, double, std::shared_ptr<const BigInt>,
                   std::shared_ptr<const std::string>,
                   std::shared_ptr<const Bytes>, std::shared_ptr<const Global>,
                   std::shared_ptr<const StorageReference>,
                   std::shared_ptr<List>, std::shared_ptr<Tuple>,
                   std::shared_ptr<Dict>, std::shared_ptr<Set>,
                   std::shared_ptr<Object>, std::shared_ptr<TensorView>>;

  Value() = default;
  // Implicit, as values are in Python.
  Value(bool v) : v_(v) {}                                    // NOLINT
  Value(int v) : v_(std::int64_t{v}) {}                       // NOLINT
  Value(std::int64_t v) : v_(v) {}                            // NOLINT
  Value(double v) : v_(v) {}                                  // NOLINT
  Value(const char* v) : Value(std::string(v)) {}             // NOLINT
  Value(std::string v);                                       // NOLINT
  Value(Bytes v);                                             // NOLINT
  Value(BigInt v);                                            // NOLINT
  Value(Global v);                                            // NOLINT
  Value(StorageReference v);                                  // NOLINT
  Value(TensorView v);                                        // NOLINT
  Value(List v);                                              // NOLINT
  Value(Tuple v);                                             // NOLINT
  Value(Set v);                                               // NOLINT
  Value(Dict v);                                              // NOLINT
  Value(Object v);                                            // NOLINT
  Value(std::shared_ptr<TensorView> v) : v_(std::move(v)) {}  // NOLINT
  Value(std::shared_ptr<List> v) : v_(std::move(v)) {}        // NOLINT
  Value(std::shared_ptr<Tuple> v) : v_(std::move(v)) {}       // NOLINT
  Value(std::shared_ptr<Set> v) : v_(std::move(v)) {}         // NOLINT
  Value(std::shared_ptr<Dict> v) : v_(std::move(v)) {}        // NOLINT
  Value(std::shared_ptr<Object> v) : v_(std::move(v)) {}      // NOLINT

  const Variant& variant() const { return v_; }
  bool is_none() const { return v_.index() == 0; }

  // Nullptr (nullopt) unless the value is of that kind.
  std::optional<bool> AsBool() const;
  std::optional<std::int64_t> AsInt() const;
  std::optional<double> AsDouble() const;  // a float, not an int
  const std::string* AsString() const;
  const Bytes* AsBytes() const;
  const BigInt* AsBigInt() const;
  const Global* AsGlobal() const;
  const StorageReference* AsStorage() const;
  List* AsList() const;
  Tuple* AsTuple() const;
  Set* AsSet() const;
  Dict* AsDict() const;
  Object* AsObject() const;
  TensorView* AsTensor() const;
  // The address that tells containers apart (list, tuple, set, dict, Object),
  // as Python's `is`; nullptr: a value of another kind.
  const void* container() const;

  // "dict", "str", "collections.OrderedDict", "torch.Tensor", ...
  std::string TypeName() const;

 private:
  Variant v_;
};

struct List {
  std::vector<Value> items;
};
struct Tuple {
  std::vector<Value> items;
};
// Insertion order is kept.
struct Set {
  std::vector<Value> items;
};

// A dict or one of its kin, in insertion order.
class CKPTFS_EXPORT Dict {
 public:
  enum class Type { kDict, kOrderedDict };
  using Item = std::pair<Value, Value>;

  Dict() = default;
  explicit Dict(Type type) : type_(type) {}
  Dict(const Dict& other);
  Dict(Dict&&) = default;
  Dict& operator=(const Dict& other);
  Dict& operator=(Dict&&) = default;
  ~Dict() = default;

  Type type() const { return type_; }
  const std::vector<Item>& items() const { return items_; }
  std::size_t size() const { return items_.size(); }

  // By a str key. Nullptr: not there. Constant time, on average.
  Value* Find(std::string_view key);
  const Value* Find(std::string_view key) const;
  // Replaces the value of an equal key (None, bool, int, float, str, bytes,
  // tuples of up to 64 of these), else appends; keys of other kinds are always
  // appended, as is NaN. Constant time, on average, whoever chose the keys.
  void Assign(Value key, Value value);
  void Clear();
  // False if it was not there. Linear in size().
  bool Erase(std::string_view key);

  // Instance attributes (BUILD): a state_dict() has `_metadata`. None or a
  // dict.
  Value attributes;

 private:
  // Hash of a key -> its positions.
  using Index = std::unordered_multimap<std::size_t, std::size_t>;

  const Item* FindKey(const Value& key, std::size_t hash) const;
  void MakeIndex();

  Type type_ = Type::kDict;
  std::vector<Item> items_;
  // INVARIANT: nullptr, or holds every key that has a hash; there once such a
  // key was added to more than a few items. Few dicts are large, and a pickle
  // can hold one in each of its bytes.
  std::unique_ptr<Index> index_;
};

// An instance of any other class, as pickle made it: callable(*args), then the
// items of a list or dict that it extends, then its state.
struct Object {
  enum class Made {
    kReduce,      // callable(*args)
    kNew,         // callable.__new__(callable, *args)
    kNewEx,       // the same with keyword arguments, in `kwargs`
    kPersistent,  // a persistent id that is no storage, in `args`
  };
  Made made = Made::kReduce;
  Global callable;
  std::vector<Value> args;
  Value kwargs;
  bool has_state = false;
  Value state;
  std::vector<Value> list_items;
  std::vector<Dict::Item> dict_items;

  bool Is(std::string_view module, std::string_view name) const {
    return callable.Is(module, name);
  }
};

}  // namespace ckptfs
