#include <ckptfs/checkpoint/value.h>

#include <unordered_map>

namespace ckptfs {

namespace {

template <typename T>
T* Shared(const Value::Variant& v) {
  const auto* p = std::get_if<std::shared_ptr<T>>(&v);
  return p != nullptr ? p->get() : nullptr;
}

// Equality of dict keys, as Python's for the kinds that are compared at all.
bool SameKey(const Value& a, const Value& b) {
  if (const std::string* text = a.AsString()) {
    const std::string* other = b.AsString();
    return other != nullptr && *text == *other;
  }
  if (const Tuple* tuple = a.AsTuple()) {
    const Tuple* other = b.AsTuple();
    if (other == nullptr || tuple->items.size() != other->items.size()) {
      return false;
    }
    for (std::size_t i = 0; i < tuple->items.size(); ++i) {
      if (!SameKey(tuple->items[i], other->items[i])) return false;
    }
    return true;
  }
  if (a.is_none()) return b.is_none();
  if (const auto number = a.AsInt()) return number == b.AsInt();
  if (const auto flag = a.AsBool()) return flag == b.AsBool();
  if (const Bytes* bytes = a.AsBytes()) {
    const Bytes* other = b.AsBytes();
    return other != nullptr && *bytes == *other;
  }
  return false;
}

}  // namespace

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
  return std::get_if<std::string>(&v_);
}
const Bytes* Value::AsBytes() const { return std::get_if<Bytes>(&v_); }
const Global* Value::AsGlobal() const { return std::get_if<Global>(&v_); }
const StorageReference* Value::AsStorage() const {
  return std::get_if<StorageReference>(&v_);
}
List* Value::AsList() const { return Shared<List>(v_); }
Tuple* Value::AsTuple() const { return Shared<Tuple>(v_); }
Set* Value::AsSet() const { return Shared<Set>(v_); }
Dict* Value::AsDict() const { return Shared<Dict>(v_); }
Object* Value::AsObject() const { return Shared<Object>(v_); }
TensorView* Value::AsTensor() const { return Shared<TensorView>(v_); }

std::string Value::TypeName() const {
  struct Name {
    std::string operator()(std::monostate) const { return "NoneType"; }
    std::string operator()(bool) const { return "bool"; }
    std::string operator()(std::int64_t) const { return "int"; }
    std::string operator()(const BigInt&) const { return "int"; }
    std::string operator()(double) const { return "float"; }
    std::string operator()(const std::string&) const { return "str"; }
    std::string operator()(const Bytes&) const { return "bytes"; }
    std::string operator()(const Global& g) const {
      return g.module + "." + g.name;
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
    std::string operator()(const StorageReference& s) const {
      return s.type.module + "." + s.type.name;
    }
  };
  return std::visit(Name(), v_);
}

// Positions of the str keys; the others, few and short, are searched.
struct Dict::Index {
  std::unordered_map<std::string, std::size_t> strings;
};

Dict::Dict(const Dict& other)
    : attributes(other.attributes), type_(other.type_), items_(other.items_) {}

Dict& Dict::operator=(const Dict& other) {
  if (this != &other) {
    attributes = other.attributes;
    type_ = other.type_;
    items_ = other.items_;
    index_.reset();
  }
  return *this;
}

const Value* Dict::Find(std::string_view key) const {
  if (index_ == nullptr) {
    auto index = std::make_shared<Index>();
    for (std::size_t i = 0; i < items_.size(); ++i) {
      if (const std::string* text = items_[i].first.AsString()) {
        index->strings[*text] = i;
      }
    }
    index_ = std::move(index);
  }
  const auto found = index_->strings.find(std::string(key));
  return found == index_->strings.end() ? nullptr
                                        : &items_[found->second].second;
}

Value* Dict::Find(std::string_view key) {
  return const_cast<Value*>(std::as_const(*this).Find(key));
}

void Dict::Assign(Value key, Value value) {
  if (const std::string* text = key.AsString()) {
    if (Value* there = Find(*text)) {
      *there = std::move(value);
      return;
    }
    index_->strings[*text] = items_.size();
  } else {
    for (Item& item : items_) {
      if (SameKey(item.first, key)) {
        item.second = std::move(value);
        return;
      }
    }
  }
  items_.emplace_back(std::move(key), std::move(value));
}

void Dict::Append(Value key, Value value) {
  index_.reset();
  items_.emplace_back(std::move(key), std::move(value));
}

void Dict::Clear() {
  index_.reset();
  items_.clear();
  attributes = Value();
}

bool Dict::Erase(std::string_view key) {
  const Value* there = Find(key);
  if (there == nullptr) return false;
  for (std::size_t i = 0; i < items_.size(); ++i) {
    if (&items_[i].second == there) {
      items_.erase(items_.begin() + static_cast<std::ptrdiff_t>(i));
      break;
    }
  }
  index_.reset();
  return true;
}

}  // namespace ckptfs
