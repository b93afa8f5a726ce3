#include <ckptfs/checkpoint/value.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <random>

namespace ckptfs {

namespace {

template <typename T>
T* Shared(const Value::Variant& v) {
  const auto* p = std::get_if<std::shared_ptr<T>>(&v);
  return p != nullptr ? p->get() : nullptr;
}

// Below this a dict is searched from end to end.
constexpr std::size_t kSmallDict = 8;
// Tuples as keys that are larger, or nest deeper, are equal to nothing.
constexpr int kMaxKeyDepth = 8;
constexpr int kMaxKeyItems = 64;
// Of a longer text in a key, both ends are hashed, and so is its length.
constexpr std::size_t kHashedBytes = 128;
// Keys of one hash, of which there are so many only where somebody made them:
// further ones are equal to nothing.
constexpr int kMaxSameHash = 64;

// Files choose the keys: without a secret they could choose which of them
// collide.
std::size_t Secret() {
  static const std::size_t secret = [] {
    std::random_device random;
    return std::size_t{random()} << 32 | random();
  }();
  return secret;
}

// The finalizer of splitmix64: every bit of the secret reaches every other.
std::size_t Mix(std::size_t seed, std::size_t value) {
  std::size_t z = (seed ^ value) + 0x9e3779b97f4a7c15;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}

std::size_t TextHash(std::size_t kind, std::string_view text) {
  const std::hash<std::string_view> hash;
  if (text.size() <= 2 * kHashedBytes) {
    return Mix(Secret() + kind, hash(text));
  }
  const std::size_t ends = Mix(hash(text.substr(0, kHashedBytes)),
                               hash(text.substr(text.size() - kHashedBytes)));
  return Mix(Secret() + kind, Mix(ends, text.size()));
}

// Numbers are equal across their types, as in Python: 1 == 1.0 == True.
std::optional<double> Number(const Value& value) {
  if (const auto number = value.AsInt()) return static_cast<double>(*number);
  if (const auto flag = value.AsBool()) return *flag ? 1.0 : 0.0;
  return value.AsDouble();
}

// Nullopt: a key that is compared with nothing. `items`: how many more tuples
// and items it may hold.
std::optional<std::size_t> KeyHash(const Value& key, int depth, int& items) {
  if (const std::string* text = key.AsString()) return TextHash(1, *text);
  if (const auto integer = key.AsInt()) {
    return Mix(Secret() + 2, static_cast<std::size_t>(*integer));
  }
  if (const auto number = Number(key)) {
    // Not even equal to itself.
    if (std::isnan(*number)) return std::nullopt;
    // As the int that it is equal to.
    if (std::trunc(*number) == *number && std::abs(*number) < 0x1p63) {
      return Mix(Secret() + 2,
                 static_cast<std::size_t>(static_cast<std::int64_t>(*number)));
    }
    return Mix(Secret() + 2, std::hash<double>()(*number));
  }
  if (const Bytes* bytes = key.AsBytes()) return TextHash(3, bytes->data);
  if (key.is_none()) return Mix(Secret(), 4);
  const Tuple* tuple = key.AsTuple();
  if (tuple == nullptr || depth == kMaxKeyDepth) return std::nullopt;
  std::size_t hash = Secret() + 5;
  for (const Value& item : tuple->items) {
    if (--items < 0) return std::nullopt;
    const std::optional<std::size_t> one = KeyHash(item, depth + 1, items);
    if (!one) return std::nullopt;
    hash = Mix(hash, *one);
  }
  return hash;
}

std::optional<std::size_t> KeyHash(const Value& key) {
  int items = kMaxKeyItems;
  return KeyHash(key, 0, items);
}

// `a` has a hash, which bounds the time; `b` may be any key.
bool SameKey(const Value& a, const Value& b) {
  if (const std::string* text = a.AsString()) {
    const std::string* other = b.AsString();
    // One str is often the key of many dicts.
    return other != nullptr && (text == other || *text == *other);
  }
  if (a.AsInt() && b.AsInt()) return a.AsInt() == b.AsInt();
  if (const auto number = Number(a)) return number == Number(b);
  if (const Bytes* bytes = a.AsBytes()) {
    const Bytes* other = b.AsBytes();
    return other != nullptr && (bytes == other || *bytes == *other);
  }
  if (a.is_none()) return b.is_none();
  const Tuple* tuple = a.AsTuple();
  const Tuple* other = b.AsTuple();
  return tuple != nullptr && other != nullptr &&
         std::equal(tuple->items.begin(), tuple->items.end(),
                    other->items.begin(), other->items.end(), SameKey);
}

}  // namespace

Value::Value(std::string v)
    : v_(std::make_shared<const std::string>(std::move(v))) {}
Value::Value(Bytes v) : v_(std::make_shared<const Bytes>(std::move(v))) {}
Value::Value(BigInt v) : v_(std::make_shared<const BigInt>(std::move(v))) {}
Value::Value(Global v) : v_(std::make_shared<const Global>(std::move(v))) {}
Value::Value(StorageReference v)
    : v_(std::make_shared<const StorageReference>(std::move(v))) {}
Value::Value(TensorView v) : v_(std::make_shared<TensorView>(std::move(v))) {}
Value::Value(List v) : v_(std::make_shared<List>(std::move(v))) {}
Value::Value(Tuple v) : v_(std::make_shared<Tuple>(std::move(v))) {}
Value::Value(Set v) : v_(std::make_shared<Set>(std::move(v))) {}
Value::Value(Dict v) : v_(std::make_shared<Dict>(std::move(v))) {}
Value::Value(Object v) : v_(std::make_shared<Object>(std::move(v))) {}

std::optional<bool> Value::AsBool() const {
  const bool* v = std::get_if<bool>(&v_);
  return v != nullptr ? std::optional(*v) : std::nullopt;
}
std::optional<std::int64_t> Value::AsInt() const {
  const std::int64_t* v = std::get_if<std::int64_t>(&v_);
  return v != nullptr ? std::optional(*v) : std::nullopt;
}
std::optional<double> Value::AsDouble() const {
  const double* v = std::get_if<double>(&v_);
  return v != nullptr ? std::optional(*v) : std::nullopt;
}
const std::string* Value::AsString() const {
  return Shared<const std::string>(v_);
}
const Bytes* Value::AsBytes() const { return Shared<const Bytes>(v_); }
const BigInt* Value::AsBigInt() const { return Shared<const BigInt>(v_); }
const Global* Value::AsGlobal() const { return Shared<const Global>(v_); }
const StorageReference* Value::AsStorage() const {
  return Shared<const StorageReference>(v_);
}
List* Value::AsList() const { return Shared<List>(v_); }
Tuple* Value::AsTuple() const { return Shared<Tuple>(v_); }
Set* Value::AsSet() const { return Shared<Set>(v_); }
Dict* Value::AsDict() const { return Shared<Dict>(v_); }
Object* Value::AsObject() const { return Shared<Object>(v_); }
TensorView* Value::AsTensor() const { return Shared<TensorView>(v_); }

const void* Value::container() const {
  if (const List* list = AsList()) return list;
  if (const Tuple* tuple = AsTuple()) return tuple;
  if (const Set* set = AsSet()) return set;
  if (const Dict* dict = AsDict()) return dict;
  return AsObject();
}

std::string Value::TypeName() const {
  struct Name {
    std::string operator()(std::monostate) const { return "NoneType"; }
    std::string operator()(bool) const { return "bool"; }
    std::string operator()(std::int64_t) const { return "int"; }
    std::string operator()(const std::shared_ptr<const BigInt>&) const {
      return "int";
    }
    std::string operator()(double) const { return "float"; }
    std::string operator()(const std::shared_ptr<const std::string>&) const {
      return "str";
    }
    std::string operator()(const std::shared_ptr<const Bytes>&) const {
      return "bytes";
    }
    std::string operator()(const std::shared_ptr<const Global>& g) const {
      return g->module + "." + g->name;
    }
    std::string operator()(const std::shared_ptr<List>&) const {
      return "list";
    }
    std::string operator()(const std::shared_ptr<Tuple>&) const {
      return "tuple";
    }
    std::string operator()(const std::shared_ptr<Dict>& d) const {
      return d->type() == Dict::Type::kDict ? "dict"
                                            : "collections.OrderedDict";
    }
    std::string operator()(const std::shared_ptr<Set>&) const { return "set"; }
    std::string operator()(const std::shared_ptr<Object>& o) const {
      return o->callable.module + "." + o->callable.name;
    }
    std::string operator()(const std::shared_ptr<TensorView>&) const {
      return "torch.Tensor";
    }
    std::string operator()(
        const std::shared_ptr<const StorageReference>& s) const {
      return s->type.module + "." + s->type.name;
    }
  };
  return std::visit(Name(), v_);
}

Dict::Dict(const Dict& other)
    : attributes(other.attributes), type_(other.type_), items_(other.items_) {
  if (other.index_ != nullptr) index_ = std::make_unique<Index>(*other.index_);
}

Dict& Dict::operator=(const Dict& other) {
  if (this != &other) *this = Dict(other);
  return *this;
}

void Dict::MakeIndex() {
  index_ = std::make_unique<Index>();
  for (std::size_t i = 0; i < items_.size(); ++i) {
    if (const auto hash = KeyHash(items_[i].first)) index_->emplace(*hash, i);
  }
}

const Dict::Item* Dict::FindKey(const Value& key, std::size_t hash) const {
  if (index_ == nullptr) {
    for (const Item& item : items_) {
      if (SameKey(key, item.first)) return &item;
    }
    return nullptr;
  }
  auto at = index_->find(hash);
  for (int i = 0; i < kMaxSameHash && at != index_->end() && at->first == hash;
       ++i, ++at) {
    if (SameKey(key, items_[at->second].first)) return &items_[at->second];
  }
  return nullptr;
}

const Value* Dict::Find(std::string_view key) const {
  const Value text{std::string(key)};
  const Item* item = FindKey(text, *KeyHash(text));
  return item != nullptr ? &item->second : nullptr;
}

Value* Dict::Find(std::string_view key) {
  return const_cast<Value*>(std::as_const(*this).Find(key));
}

void Dict::Assign(Value key, Value value) {
  const std::optional<std::size_t> hash = KeyHash(key);
  if (hash) {
    if (const Item* item = FindKey(key, *hash)) {
      const_cast<Item*>(item)->second = std::move(value);
      return;
    }
    if (index_ != nullptr) index_->emplace(*hash, items_.size());
  }
  items_.emplace_back(std::move(key), std::move(value));
  // Without a hash there is nothing to add, however many there are.
  if (hash && index_ == nullptr && items_.size() > kSmallDict) MakeIndex();
}

void Dict::Clear() {
  index_.reset();
  items_.clear();
  attributes = Value();
}

bool Dict::Erase(std::string_view key) {
  const Value text{std::string(key)};
  const Item* item = FindKey(text, *KeyHash(text));
  if (item == nullptr) return false;
  items_.erase(items_.begin() + (item - items_.data()));
  index_.reset();
  if (items_.size() > kSmallDict) MakeIndex();
  return true;
}

}  // namespace ckptfs
