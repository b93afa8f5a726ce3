#include "checkpoint/tensors/tensor_walk.h"

#include <ckptfs/checkpoint/tensor_names.h>

#include "checkpoint/torch_file/torch_pickle.h"

namespace ckptfs {

namespace {

constexpr std::uint64_t kMaxVisits = 4ull << 20;

std::string KeyText(const Value& key) {
  if (const std::string* text = key.AsString()) return *text;
  if (const std::optional<std::int64_t> number = key.AsInt()) {
    return std::to_string(*number);
  }
  if (const Bytes* bytes = key.AsBytes()) return bytes->data;
  // A tuple of names, as DCP's planner makes them.
  if (const Tuple* tuple = key.AsTuple()) {
    std::string text;
    for (const Value& item : tuple->items) {
      if (!text.empty()) text += '.';
      text += KeyText(item);
    }
    return text;
  }
  return key.TypeName();
}

const void* Identity(const Value& value) {
  if (const List* list = value.AsList()) return list;
  if (const Tuple* tuple = value.AsTuple()) return tuple;
  if (const Set* set = value.AsSet()) return set;
  if (const Dict* dict = value.AsDict()) return dict;
  return value.AsObject();
}

}  // namespace

Result<void> TensorWalk::Walk(const Value& value) {
  const Result<bool> any = Visit(value);
  CKPTFS_RETURN_IF_ERROR(any);
  return {};
}

Result<bool> TensorWalk::VisitNamed(std::string_view part, const Value& value) {
  const std::size_t before = name_.size();
  if (!name_.empty()) name_ += '.';
  name_ += part;
  Result<bool> any = Visit(value);
  name_.resize(before);
  return any;
}

Result<bool> TensorWalk::Visit(const Value& value) {
  TensorView* const tensor = TensorIn(value);
  const StorageReference* const bare = value.AsStorage();
  if (tensor != nullptr || bare != nullptr) {
    if (++visits_ > kMaxVisits) {
      return Fail(ErrorCode::kTooLarge,
                  "more than " + std::to_string(kMaxVisits) +
                      " paths lead to tensors; at " + name_);
    }
    if (tensor != nullptr) {
      visitor_.Tensor(name_, *tensor);
    } else {
      visitor_.Bare(name_, bare->storage);
    }
    return true;
  }
  const void* const id = Identity(value);
  if (id == nullptr || barren_.contains(id)) return false;
  Result<bool> any = VisitParts(value);
  if (any && !*any) barren_.insert(id);
  return any;
}

Result<bool> TensorWalk::VisitParts(const Value& value) {
  bool any = false;
  const auto visit_items =
      [&](const std::vector<Value>& items) -> Result<void> {
    for (std::size_t i = 0; i < items.size(); ++i) {
      CKPTFS_ASSIGN_OR_RETURN(const bool found,
                              VisitNamed(std::to_string(i), items[i]));
      any |= found;
    }
    return {};
  };
  const auto visit_pairs =
      [&](const std::vector<Dict::Item>& items) -> Result<void> {
    for (const auto& [key, item] : items) {
      CKPTFS_ASSIGN_OR_RETURN(const bool found, VisitNamed(KeyText(key), item));
      any |= found;
    }
    return {};
  };
  if (const List* list = value.AsList()) {
    CKPTFS_RETURN_IF_ERROR(visit_items(list->items));
  } else if (const Tuple* tuple = value.AsTuple()) {
    CKPTFS_RETURN_IF_ERROR(visit_items(tuple->items));
  } else if (const Set* set = value.AsSet()) {
    CKPTFS_RETURN_IF_ERROR(visit_items(set->items));
  } else if (const Dict* dict = value.AsDict()) {
    CKPTFS_RETURN_IF_ERROR(visit_pairs(dict->items()));
  } else if (const Object* object = value.AsObject()) {
    CKPTFS_RETURN_IF_ERROR(visit_items(object->args));
    CKPTFS_ASSIGN_OR_RETURN(const bool in_keywords, Visit(object->kwargs));
    CKPTFS_ASSIGN_OR_RETURN(const bool in_state, Visit(object->state));
    any |= in_keywords || in_state;
    CKPTFS_RETURN_IF_ERROR(visit_items(object->list_items));
    CKPTFS_RETURN_IF_ERROR(visit_pairs(object->dict_items));
  }
  return any;
}

Result<void> VisitTensors(const Value& value,
                          const std::function<void(const std::string& name,
                                                   TensorView& tensor)>& fn) {
  class Visitor final : public TensorVisitor {
   public:
    explicit Visitor(
        const std::function<void(const std::string&, TensorView&)>& fn)
        : fn_(fn) {}
    void Tensor(const std::string& name, TensorView& tensor) override {
      fn_(name, tensor);
    }
    void Bare(const std::string&, const std::shared_ptr<Storage>&) override {}

   private:
    const std::function<void(const std::string&, TensorView&)>& fn_;
  } visitor(fn);
  return TensorWalk(visitor).Walk(value);
}

}  // namespace ckptfs
