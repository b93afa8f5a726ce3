#include "checkpoint/checkpoint_io/rest_of.h"

#include <unordered_map>
#include <utility>

#include "checkpoint/torch_file/torch_pickle.h"

namespace ckptfs {

namespace {

class Remover {
 public:
  struct Left {
    Value value;
    bool tensors = false;  // there were some, and they are gone
    bool empty = false;    // and nothing else was there
  };

  Left Without(const Value& value) {
    if (TensorIn(value) != nullptr) return {Value(), true, true};
    const void* id = nullptr;
    if (const List* list = value.AsList()) id = list;
    if (const Tuple* tuple = value.AsTuple()) id = tuple;
    if (const Dict* dict = value.AsDict()) id = dict;
    if (id == nullptr) return {value, false, false};
    const auto known = done_.find(id);
    if (known != done_.end()) return known->second;
    Left left = WithoutInside(value);
    if (!left.tensors) left.value = value;
    if (left.empty) left.value = Value();
    done_.emplace(id, left);
    return left;
  }

 private:
  Left WithoutInside(const Value& value) {
    Left out;
    if (const Dict* dict = value.AsDict()) {
      Dict rest(dict->type());
      rest.attributes = dict->attributes;
      for (const auto& [key, item] : dict->items()) {
        Left left = Without(item);
        out.tensors |= left.tensors;
        if (!left.empty) rest.Assign(key, std::move(left.value));
      }
      out.empty = out.tensors && rest.size() == 0;
      out.value = Value(std::move(rest));
      return out;
    }
    const List* list = value.AsList();
    const Tuple* tuple = value.AsTuple();
    std::vector<Value> items;
    bool any = false;
    for (const Value& item : list != nullptr ? list->items : tuple->items) {
      Left left = Without(item);
      out.tensors |= left.tensors;
      any |= !left.empty;
      items.push_back(std::move(left.value));
    }
    out.empty = out.tensors && !any;
    out.value = list != nullptr ? Value(List{std::move(items)})
                                : Value(Tuple{std::move(items)});
    return out;
  }

  std::unordered_map<const void*, Left> done_;
};

}  // namespace

Value RestOf(const Value& value) { return Remover().Without(value).value; }

}  // namespace ckptfs
