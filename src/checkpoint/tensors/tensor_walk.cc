#include "checkpoint/tensors/tensor_walk.h"

#include <ckptfs/checkpoint/tensor_names.h>

#include "checkpoint/torch_file/torch_pickle.h"

namespace ckptfs {

namespace {

// Readers give no deeper values, and writers take none (PickleLimits).
constexpr int kMaxDepth = 201;
constexpr std::uint64_t kMaxVisits = 1ull << 20;
// Of all names together; those of kMaxVisits usual ones.
constexpr std::uint64_t kMaxNameBytes = 128ull << 20;

// Appends until `name` is longer than `limit`: a key may be a tuple of tuples
// that stand for more text than there is memory.
void AppendKey(const Value& key, std::uint64_t limit, std::string& name) {
  if (name.size() > limit) return;
  if (const std::string* text = key.AsString()) {
    name += *text;
  } else if (const std::optional<std::int64_t> number = key.AsInt()) {
    name += std::to_string(*number);
  } else if (const Bytes* bytes = key.AsBytes()) {
    name += bytes->data;
  } else if (const Tuple* tuple = key.AsTuple()) {
    // A tuple of names, as DCP's planner makes them.
    const std::size_t begin = name.size();
    for (const Value& item : tuple->items) {
      if (name.size() > limit) return;
      if (name.size() > begin) name += '.';
      AppendKey(item, limit, name);
    }
  } else {
    name += key.TypeName();
  }
}

}  // namespace

Result<void> TensorWalk::Walk(const Value& value) {
  const Result<bool> any = Visit(value);
  CKPTFS_RETURN_IF_ERROR(any);
  return {};
}

Result<std::string> TensorWalk::Name() {
  std::string name;
  for (const Step& step : path_) {
    if (!name.empty()) name += '.';
    if (step.key == nullptr) {
      name += std::to_string(step.position);
    } else {
      AppendKey(*step.key, kMaxNameBytes, name);
    }
    if (name.size() > kMaxNameBytes) break;
  }
  name_bytes_ += name.size();
  if (++visits_ > kMaxVisits || name_bytes_ > kMaxNameBytes) {
    const std::string where = name.substr(0, 200);
    return Fail(ErrorCode::kTooLarge,
                "more than " + std::to_string(kMaxVisits) +
                    " paths lead to tensors, or their names have more than " +
                    std::to_string(kMaxNameBytes) + " bytes; at " + where);
  }
  return name;
}

Result<bool> TensorWalk::Visit(const Value& value) {
  TensorView* const tensor = TensorIn(value);
  const StorageReference* const bare = value.AsStorage();
  if (tensor != nullptr || bare != nullptr) {
    CKPTFS_ASSIGN_OR_RETURN(const std::string name, Name());
    if ((tensor != nullptr ? tensor->storage : bare->storage) == nullptr) {
      return Fail(ErrorCode::kInvalidArgument,
                  name + ": a tensor without a storage");
    }
    if (tensor == nullptr) {
      visitor_.Bare(name, bare->storage);
      return true;
    }
    visitor_.Tensor(name, *tensor);
    if (tensor == value.AsTensor()) return true;
  }
  const void* const id = value.container();
  if (id == nullptr || barren_.contains(id)) return tensor != nullptr;
  if (depth_ == kMaxDepth) {
    return Fail(ErrorCode::kInvalidArgument,
                "values that nest deeper than " + std::to_string(kMaxDepth) +
                    " levels, or contain themselves");
  }
  ++depth_;
  // The first argument of a Parameter has its name from the Parameter.
  Result<bool> any = VisitParts(value, tensor != nullptr ? 1 : 0);
  --depth_;
  if (any && !*any && tensor == nullptr) barren_.insert(id);
  if (any && tensor != nullptr) return true;
  return any;
}

Result<bool> TensorWalk::VisitItems(const std::vector<Value>& items,
                                    std::size_t first) {
  bool any = false;
  for (std::size_t i = first; i < items.size(); ++i) {
    path_.push_back({nullptr, i});
    CKPTFS_ASSIGN_OR_RETURN(const bool found, Visit(items[i]));
    path_.pop_back();
    any |= found;
  }
  return any;
}

Result<bool> TensorWalk::VisitPairs(const std::vector<Dict::Item>& items) {
  bool any = false;
  for (const auto& [key, item] : items) {
    path_.push_back({&key, 0});
    CKPTFS_ASSIGN_OR_RETURN(const bool found, Visit(item));
    path_.pop_back();
    any |= found;
  }
  return any;
}

Result<bool> TensorWalk::VisitParts(const Value& value,
                                    std::size_t first_argument) {
  if (const List* list = value.AsList()) return VisitItems(list->items);
  if (const Tuple* tuple = value.AsTuple()) return VisitItems(tuple->items);
  if (const Set* set = value.AsSet()) return VisitItems(set->items);
  if (const Dict* dict = value.AsDict()) return VisitPairs(dict->items());
  const Object* object = value.AsObject();
  if (object == nullptr) return false;
  CKPTFS_ASSIGN_OR_RETURN(const bool in_args,
                          VisitItems(object->args, first_argument));
  CKPTFS_ASSIGN_OR_RETURN(const bool in_keywords, Visit(object->kwargs));
  CKPTFS_ASSIGN_OR_RETURN(const bool in_state, Visit(object->state));
  CKPTFS_ASSIGN_OR_RETURN(const bool in_list, VisitItems(object->list_items));
  CKPTFS_ASSIGN_OR_RETURN(const bool in_dict, VisitPairs(object->dict_items));
  return in_args || in_keywords || in_state || in_list || in_dict;
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
