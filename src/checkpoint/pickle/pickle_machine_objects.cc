// PickleMachine: calls, objects and the contents of containers.
#include "checkpoint/pickle/pickle_machine.h"

namespace ckptfs {

namespace {

// _codecs.encode(text, "latin1"): how protocol 2 carries bytes.
Result<Bytes> Latin1(const std::string& text) {
  Bytes out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c < 0x80) {
      out.data.push_back(static_cast<char>(c));
      continue;
    }
    const auto next = i + 1 < text.size()
                          ? static_cast<unsigned char>(text[i + 1])
                          : std::uint8_t{0};
    if ((c != 0xc2 && c != 0xc3) || (next & 0xc0) != 0x80) {
      return BadPickle("_codecs.encode of a str that is not latin-1");
    }
    out.data.push_back(static_cast<char>((c & 3) << 6 | (next & 0x3f)));
    ++i;
  }
  return out;
}

}  // namespace

Result<void> PickleMachine::Drop() {
  CKPTFS_ASSIGN_OR_RETURN(const Value value, Pop());
  const Object* object = value.AsObject();
  if (object != nullptr && object->made == Object::Made::kReduce) {
    // copyreg's state setters: a call for its effect on another object.
    return BadPickle("a call of " + object->callable.module + "." +
                     object->callable.name + " whose result is dropped");
  }
  return {};
}

// Arguments that the memo gives out again and again are copied each time: what
// that costs is bounded by the pickle's own length.
Result<void> PickleMachine::Charge(std::uint64_t copied) {
  copied_ += copied;
  if (copied_ > 8 * data_.size() + 4096) {
    return BadPickle("arguments that are used over and over");
  }
  return {};
}

Result<void> PickleMachine::Call(const Global& global,
                                 const std::vector<Value>& args) {
  CKPTFS_RETURN_IF_ERROR(handler_.CheckGlobal(global));
  CKPTFS_ASSIGN_OR_RETURN(Value made, handler_.Reduce(global, args));
  return PushNew(std::move(made));
}

Result<void> PickleMachine::Reduce() {
  CKPTFS_ASSIGN_OR_RETURN(const Value args, Pop());
  CKPTFS_ASSIGN_OR_RETURN(const Value callable, Pop());
  const Global* global = callable.AsGlobal();
  if (global == nullptr) {
    return BadPickle("a call of a " + callable.TypeName() +
                     ", which is no class or function by name");
  }
  const Tuple* tuple = args.AsTuple();
  if (tuple == nullptr) {
    return BadPickle("a call whose arguments are a " + args.TypeName());
  }
  const std::vector<Value>& items = tuple->items;
  CKPTFS_RETURN_IF_ERROR(Charge(items.size()));
  if (global->Is("collections", "OrderedDict") && items.size() <= 1) {
    Dict dict(Dict::Type::kOrderedDict);
    const List* pairs = items.empty() ? nullptr : items[0].AsList();
    if (!items.empty() && pairs == nullptr) {
      return BadPickle("an OrderedDict of something else than a list");
    }
    CKPTFS_RETURN_IF_ERROR(Charge(pairs != nullptr ? pairs->items.size() : 0));
    for (std::size_t i = 0; pairs != nullptr && i < pairs->items.size(); ++i) {
      const Value& pair = pairs->items[i];
      const std::vector<Value>* two = nullptr;
      if (const Tuple* t = pair.AsTuple()) two = &t->items;
      if (const List* l = pair.AsList()) two = &l->items;
      if (two == nullptr || two->size() != 2) {
        return BadPickle("an OrderedDict of something else than pairs");
      }
      dict.Assign((*two)[0], (*two)[1]);
    }
    return PushNew(Value(std::move(dict)));
  }
  if (global->Is("builtins", "set") && items.size() == 1 &&
      items[0].AsList() != nullptr) {
    CKPTFS_RETURN_IF_ERROR(Charge(items[0].AsList()->items.size()));
    return PushNew(Value(Set{items[0].AsList()->items}));
  }
  // The empty bytes of protocol 2.
  if (global->Is("builtins", "bytes") && items.empty())
    return Push(Value(Bytes()));
  if (global->Is("_codecs", "encode") && items.size() == 2 &&
      items[0].AsString() != nullptr && items[1].AsString() != nullptr &&
      (*items[1].AsString() == "latin1" || *items[1].AsString() == "latin-1")) {
    CKPTFS_RETURN_IF_ERROR(Charge(items[0].AsString()->size()));
    CKPTFS_ASSIGN_OR_RETURN(Bytes bytes, Latin1(*items[0].AsString()));
    return Push(Value(std::move(bytes)));
  }
  CKPTFS_ASSIGN_OR_RETURN(Value made, handler_.Reduce(*global, items));
  return PushNew(std::move(made));
}

Result<void> PickleMachine::NewObject(bool with_kwargs) {
  Object object;
  object.made = with_kwargs ? Object::Made::kNewEx : Object::Made::kNew;
  if (with_kwargs) {
    CKPTFS_ASSIGN_OR_RETURN(object.kwargs, Pop());
    if (object.kwargs.AsDict() == nullptr) {
      return BadPickle("NEWOBJ_EX without a dict");
    }
  }
  CKPTFS_ASSIGN_OR_RETURN(const Value args, Pop());
  CKPTFS_ASSIGN_OR_RETURN(const Value type, Pop());
  if (type.AsGlobal() == nullptr || args.AsTuple() == nullptr) {
    return BadPickle("a new object without class or arguments");
  }
  CKPTFS_RETURN_IF_ERROR(Charge(args.AsTuple()->items.size()));
  object.callable = *type.AsGlobal();
  object.args = args.AsTuple()->items;
  return PushNew(Value(std::move(object)));
}

Result<void> PickleMachine::Build() {
  CKPTFS_ASSIGN_OR_RETURN(Value state, Pop());
  CKPTFS_ASSIGN_OR_RETURN(Value target, Pop());
  if (Object* object = target.AsObject()) {
    if (object->has_state) return BadPickle("a second state of one object");
    object->has_state = true;
    object->state = std::move(state);
    return Push(std::move(target));
  }
  if (Dict* dict = target.AsDict()) {
    if (state.AsDict() == nullptr) {
      return BadPickle("attributes of a dict that are a " + state.TypeName());
    }
    if (!dict->attributes.is_none()) {
      return BadPickle("a second state of one dict");
    }
    dict->attributes = std::move(state);
    return Push(std::move(target));
  }
  CKPTFS_ASSIGN_OR_RETURN(Value built,
                          handler_.Build(std::move(target), std::move(state)));
  return PushNew(std::move(built));
}

Result<void> PickleMachine::AppendAll(std::vector<Value> values) {
  CKPTFS_ASSIGN_OR_RETURN(const Value* top, Top());
  std::vector<Value>* into = nullptr;
  if (List* list = top->AsList()) into = &list->items;
  if (Object* object = top->AsObject()) into = &object->list_items;
  if (into == nullptr) return BadPickle("APPEND to a " + top->TypeName());
  into->insert(into->end(), std::make_move_iterator(values.begin()),
               std::make_move_iterator(values.end()));
  return {};
}

Result<void> PickleMachine::SetAll(std::vector<Value> values) {
  CKPTFS_ASSIGN_OR_RETURN(const Value* top, Top());
  if (values.size() % 2 != 0) return BadPickle("a key without a value");
  Dict* const dict = top->AsDict();
  Object* const object = top->AsObject();
  if (dict == nullptr && object == nullptr) {
    return BadPickle("SETITEM on a " + top->TypeName());
  }
  for (std::size_t i = 0; i < values.size(); i += 2) {
    if (dict != nullptr) {
      dict->Assign(std::move(values[i]), std::move(values[i + 1]));
    } else {
      object->dict_items.emplace_back(std::move(values[i]),
                                      std::move(values[i + 1]));
    }
  }
  return {};
}

Result<void> PickleMachine::AddAll(std::vector<Value> values) {
  CKPTFS_ASSIGN_OR_RETURN(const Value* top, Top());
  Set* const set = top->AsSet();
  if (set == nullptr) return BadPickle("ADDITEMS to a " + top->TypeName());
  set->items.insert(set->items.end(), std::make_move_iterator(values.begin()),
                    std::make_move_iterator(values.end()));
  return {};
}

}  // namespace ckptfs
