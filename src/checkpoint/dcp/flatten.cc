#include "checkpoint/dcp/flatten.h"

#include <unordered_set>
#include <utility>

#include "checkpoint/torch_file/torch_pickle.h"

namespace ckptfs {

namespace {

constexpr std::size_t kMaxDepth = 200;
// Positions of empty containers come out as None, as in torch.
constexpr std::size_t kSpareSlots = 100'000;

tl::unexpected<Error> Bad(std::string what) {
  return Fail(ErrorCode::kInvalidArgument, std::move(what));
}

bool IsTensor(const Value& value) {
  const Object* object = value.AsObject();
  return TensorIn(value) != nullptr ||
         (object != nullptr && object->Is("ckptfs", "ShardedTensor"));
}

bool IsContainer(const Value& value) {
  return value.AsDict() != nullptr || value.AsList() != nullptr;
}

// str(key)
Result<std::string> NameOf(const Value& key) {
  if (const std::string* text = key.AsString()) return *text;
  if (const std::optional<bool> flag = key.AsBool()) {
    return std::string(*flag ? "True" : "False");
  }
  if (const std::optional<std::int64_t> n = key.AsInt()) {
    return std::to_string(*n);
  }
  if (key.is_none()) return std::string("None");
  return Bad("a key that is a " + key.TypeName());
}

class Traversal {
 public:
  explicit Traversal(FlattenRule rule) : rule_(rule) {}

  Result<void> Enter(const Value& value) {
    if (path_.size() > kMaxDepth) return Bad(name_ + ": nested too deep");
    if (const Dict* dict = value.AsDict()) {
      for (const auto& [key, item] : dict->items()) {
        Result<std::string> name = NameOf(key);
        if (!name) return Fail(name.error().WithContext(name_));
        at_ = {value, key, 0};
        CKPTFS_RETURN_IF_ERROR(Visit(DcpPathPart(*name), *name, item));
      }
      return {};
    }
    const List* list = value.AsList();
    for (std::size_t i = 0; i < list->items.size(); ++i) {
      at_ = {value, Value(), i};
      CKPTFS_RETURN_IF_ERROR(Visit(DcpPathPart(static_cast<std::int64_t>(i)),
                                   std::to_string(i), list->items[i]));
    }
    return {};
  }

  std::vector<FlatValue> TakeValues() { return std::move(values_); }

 private:
  struct Place {
    Value container;
    Value key;
    std::size_t position = 0;
  };

  bool Terminal(const Value& value, std::size_t depth = 0) const {
    if (depth > kMaxDepth) return true;
    const auto holds = [&](const Value& entry) {
      return (IsContainer(entry) && !Terminal(entry, depth + 1)) ||
             IsTensor(entry);
    };
    if (const Dict* dict = value.AsDict()) {
      if (rule_ == FlattenRule::kCurrent) return false;
      for (const auto& item : dict->items()) {
        if (holds(item.second)) return false;
      }
      return true;
    }
    const List* list = value.AsList();
    if (list == nullptr) return true;
    for (const Value& item : list->items) {
      if (holds(item)) return false;
    }
    return true;
  }

  Result<void> Visit(DcpPathPart part, const std::string& name,
                     const Value& value) {
    const std::size_t length = name_.size();
    if (!path_.empty()) name_ += '.';
    name_ += name;
    path_.push_back(std::move(part));
    Result<void> done;
    if (!Terminal(value)) {
      done = Enter(value);
    } else if (!names_.insert(name_).second) {
      done = Bad(name_ + ": two values of this name");
    } else {
      values_.push_back(
          {name_, path_, value, at_.container, at_.key, at_.position});
    }
    path_.pop_back();
    name_.resize(length);
    return done;
  }

  const FlattenRule rule_;
  DcpPath path_;
  std::string name_;
  Place at_;
  std::unordered_set<std::string> names_;
  std::vector<FlatValue> values_;
};

}  // namespace

void FlatValue::Replace(Value other) const {
  if (Dict* dict = container.AsDict()) {
    dict->Assign(key, std::move(other));
  } else if (List* list = container.AsList();
             list != nullptr && position < list->items.size()) {
    list->items[position] = std::move(other);
  }
}

Result<std::vector<FlatValue>> FlattenState(const Value& state,
                                            FlattenRule rule) {
  if (state.AsDict() == nullptr) {
    return Bad("a state that is a " + state.TypeName() + ", not a dict");
  }
  Traversal traversal(rule);
  CKPTFS_RETURN_IF_ERROR(traversal.Enter(state));
  return traversal.TakeValues();
}

StateBuilder::StateBuilder(std::size_t values)
    : slots_left_(values + kSpareSlots), state_(Dict()) {}

Result<void> StateBuilder::Set(const DcpPath& path, Value value) {
  if (path.empty() || path.size() > kMaxDepth) {
    return Bad("a path of " + std::to_string(path.size()) + " parts");
  }
  Value container = state_;
  for (std::size_t i = 0; i < path.size(); ++i) {
    // What stands here: the value, or the container of the next part.
    const bool last = i + 1 == path.size();
    const auto fresh = [&]() -> Value {
      if (last) return std::move(value);
      return std::holds_alternative<std::string>(path[i + 1]) ? Value(Dict())
                                                              : Value(List());
    };
    Value* slot = nullptr;
    if (const auto* key = std::get_if<std::string>(&path[i])) {
      Dict* dict = container.AsDict();
      if (dict == nullptr) return Bad("a path that runs through a value");
      slot = dict->Find(*key);
      if (slot == nullptr || last) {
        dict->Assign(Value(*key), fresh());
        slot = dict->Find(*key);
      }
    } else {
      const std::int64_t position = std::get<std::int64_t>(path[i]);
      List* list = container.AsList();
      if (list == nullptr || position < 0) {
        return Bad("a path that runs through a value");
      }
      const auto at = static_cast<std::size_t>(position);
      if (at >= list->items.size()) {
        const std::size_t more = at + 1 - list->items.size();
        if (more > slots_left_) {
          return Bad("position " + std::to_string(position) + " in a list");
        }
        slots_left_ -= more;
        list->items.resize(at + 1);
      }
      slot = &list->items[at];
      if (slot->is_none() || last) *slot = fresh();
    }
    container = *slot;
  }
  return {};
}

}  // namespace ckptfs
