#include "fuzz/same_value.h"

#include <bit>
#include <cstdint>

namespace ckptfs {

namespace {

const void* Identity(const Value& value) {
  if (const TensorView* tensor = value.AsTensor()) return tensor;
  return value.container();
}

}  // namespace

bool SameValue::operator()(const Value& a, const Value& b) {
  if (a.variant().index() != b.variant().index()) return false;
  const void* const id = Identity(a);
  // The empty tuple is one object in Python, and nobody can tell two apart.
  const bool shared =
      id != nullptr && !(a.AsTuple() != nullptr && a.AsTuple()->items.empty());
  if (shared) {
    const auto [known, added] = known_.emplace(id, Identity(b));
    if (!added) return known->second == Identity(b);
  }
  return Contents(a, b);
}

bool SameValue::Items(const std::vector<Value>& a,
                      const std::vector<Value>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!(*this)(a[i], b[i])) return false;
  }
  return true;
}

bool SameValue::Pairs(const std::vector<Dict::Item>& a,
                      const std::vector<Dict::Item>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!(*this)(a[i].first, b[i].first)) return false;
    if (!(*this)(a[i].second, b[i].second)) return false;
  }
  return true;
}

// Keys are given anew by whoever writes; which storage is shared is not. Sizes
// are written in whole elements, of at most 16 bytes.
bool SameValue::Storages(const Storage* a, const Storage* b) {
  const auto [known, added] = known_.emplace(a, b);
  if (!added && known->second != b) return false;
  return a->bytes >= b->bytes && a->bytes - b->bytes < 16 &&
         a->location == b->location;
}

bool SameValue::Tensors(const TensorView& a, const TensorView& b) {
  return a.dtype == b.dtype && a.shape == b.shape && a.strides == b.strides &&
         a.offset == b.offset && a.requires_grad == b.requires_grad &&
         Storages(a.storage.get(), b.storage.get());
}

bool SameValue::Objects(const Object& a, const Object& b) {
  return a.made == b.made && a.callable == b.callable &&
         a.has_state == b.has_state && Items(a.args, b.args) &&
         (*this)(a.kwargs, b.kwargs) && (*this)(a.state, b.state) &&
         Items(a.list_items, b.list_items) && Pairs(a.dict_items, b.dict_items);
}

bool SameValue::Contents(const Value& a, const Value& b) {
  if (a.AsDouble()) {
    return std::bit_cast<std::uint64_t>(*a.AsDouble()) ==
           std::bit_cast<std::uint64_t>(*b.AsDouble());
  }
  if (a.AsString() != nullptr) return *a.AsString() == *b.AsString();
  if (a.AsBytes() != nullptr) return *a.AsBytes() == *b.AsBytes();
  if (a.AsBigInt() != nullptr) return *a.AsBigInt() == *b.AsBigInt();
  if (a.AsGlobal() != nullptr) return *a.AsGlobal() == *b.AsGlobal();
  if (a.AsStorage() != nullptr) {
    return a.AsStorage()->type.name == b.AsStorage()->type.name &&
           Storages(a.AsStorage()->storage.get(), b.AsStorage()->storage.get());
  }
  if (a.AsList() != nullptr) return Items(a.AsList()->items, b.AsList()->items);
  if (a.AsTuple() != nullptr) {
    return Items(a.AsTuple()->items, b.AsTuple()->items);
  }
  if (a.AsSet() != nullptr) return Items(a.AsSet()->items, b.AsSet()->items);
  if (const Dict* dict = a.AsDict()) {
    const Dict* other = b.AsDict();
    return dict->type() == other->type() &&
           Pairs(dict->items(), other->items()) &&
           (*this)(dict->attributes, other->attributes);
  }
  if (a.AsTensor() != nullptr) return Tensors(*a.AsTensor(), *b.AsTensor());
  if (a.AsObject() != nullptr) return Objects(*a.AsObject(), *b.AsObject());
  return a.AsBool() == b.AsBool() && a.AsInt() == b.AsInt();
}

}  // namespace ckptfs
