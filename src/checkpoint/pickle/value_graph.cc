#include "checkpoint/pickle/value_graph.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

namespace ckptfs {

namespace {

// Child `index` in some fixed order; nullptr behind the last.
const Value* Child(const Value& value, std::size_t index) {
  const auto in = [&](const std::vector<Value>& items) {
    return index < items.size() ? &items[index] : nullptr;
  };
  const auto in_items = [&](const std::vector<Dict::Item>& items,
                            std::size_t i) -> const Value* {
    if (i / 2 >= items.size()) return nullptr;
    return i % 2 == 0 ? &items[i / 2].first : &items[i / 2].second;
  };
  if (const List* list = value.AsList()) return in(list->items);
  if (const Tuple* tuple = value.AsTuple()) return in(tuple->items);
  if (const Set* set = value.AsSet()) return in(set->items);
  if (const Dict* dict = value.AsDict()) {
    return index == 0 ? &dict->attributes : in_items(dict->items(), index - 1);
  }
  if (const Object* object = value.AsObject()) {
    if (index == 0) return &object->kwargs;
    if (index == 1) return &object->state;
    index -= 2;
    if (index < object->args.size()) return &object->args[index];
    index -= object->args.size();
    if (index < object->list_items.size()) return &object->list_items[index];
    return in_items(object->dict_items, index - object->list_items.size());
  }
  return nullptr;
}

void Empty(const Value& value) {
  if (List* list = value.AsList()) list->items.clear();
  if (Tuple* tuple = value.AsTuple()) tuple->items.clear();
  if (Set* set = value.AsSet()) set->items.clear();
  if (Dict* dict = value.AsDict()) dict->Clear();
  if (Object* object = value.AsObject()) *object = Object();
}

}  // namespace

// Each container is held here while it is emptied, so that what it lets go of
// is never destroyed inside it.
ValueGraph::~ValueGraph() {
  for (const Value& value : containers_) Empty(value);
}

void ValueGraph::Add(const Value& value) {
  if (value.container() != nullptr) containers_.push_back(value);
}

Result<void> ValueGraph::Release(const Value& root, std::uint32_t max_depth) {
  if (root.container() == nullptr) return {};
  // 0: being looked at; else the depth of what lies below, counting itself.
  std::unordered_map<const void*, std::uint32_t> depths;
  struct Frame {
    const Value* value;
    std::size_t next = 0;
    std::uint32_t below = 0;
  };
  std::vector<Frame> stack = {{&root}};
  depths.reserve(containers_.size());
  depths[root.container()] = 0;
  while (!stack.empty()) {
    Frame& top = stack.back();
    const Value* child = Child(*top.value, top.next++);
    if (child == nullptr) {
      const std::uint32_t depth = top.below + 1;
      depths[top.value->container()] = depth;
      stack.pop_back();
      if (!stack.empty()) {
        stack.back().below = std::max(stack.back().below, depth);
      }
      continue;
    }
    const void* id = child->container();
    if (id == nullptr) continue;
    const auto [known, added] = depths.emplace(id, 0);
    if (!added && known->second == 0) {
      return Fail(ErrorCode::kInvalidArgument,
                  "a " + child->TypeName() + " that contains itself");
    }
    // Levels above the child, and those below it if they are known.
    const std::size_t depth = stack.size() + std::max(1u, known->second);
    if (depth > max_depth) {
      return Fail(ErrorCode::kInvalidArgument, "values that nest deeper than " +
                                                   std::to_string(max_depth) +
                                                   " levels");
    }
    if (added) {
      stack.push_back({child});
    } else {
      top.below = std::max(top.below, known->second);
    }
  }
  // What the pickle made and did not use is emptied with this object.
  std::erase_if(containers_, [&depths](const Value& value) {
    return depths.contains(value.container());
  });
  return {};
}

}  // namespace ckptfs
