#include <ATen/core/Dict.h>
#include <ATen/core/List.h>
#include <ATen/core/jit_type.h>
#include <ckptfs/torch/ivalue.h>

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "torch/guarded.h"
#include "torch/tensor_item.h"

namespace ckptfs::libtorch {

namespace {

// As deep as the pickles that are written.
constexpr int kMaxDepth = 200;

tl::unexpected<Error> TooDeep() {
  return Fail(ErrorCode::kInvalidArgument, "a value that nests deeper than " +
                                               std::to_string(kMaxDepth) +
                                               " levels, or contains itself");
}

class FromTorch {
 public:
  explicit FromTorch(TensorConverter& tensors) : tensors_(tensors) {}

  Result<Value> Convert(const c10::IValue& value) {
    if (value.isNone()) return Value();
    if (value.isBool()) return Value(value.toBool());
    if (value.isUnsigned()) return Unsigned(value.toUInt());
    if (value.isInt()) return Value(value.toInt());
    if (value.isDouble()) return Value(value.toDouble());
    if (value.isString()) return Value(value.toStringRef());
    if (value.isComplexDouble()) return Complex(value.toComplexDouble());
    if (value.isDevice()) return Device(value.toDevice());
    if (value.isTensor()) return Tensor(value.toTensor());
    if (value.isList() || value.isTuple() || value.isGenericDict()) {
      return Container(value);
    }
    return Fail(ErrorCode::kUnsupported,
                "an IValue of kind " + value.tagKind() +
                    " has no counterpart in a checkpoint");
  }

 private:
  static Value Unsigned(std::uint64_t value) {
    if (value <= INT64_MAX) return Value(static_cast<std::int64_t>(value));
    BigInt big;
    for (int i = 0; i < 8; ++i) {
      big.data.push_back(static_cast<char>(value >> (8 * i)));
    }
    big.data.push_back('\0');  // the sign
    return Value(std::move(big));
  }
  static Value Complex(c10::complex<double> value) {
    Object object;
    object.callable = {"builtins", "complex"};
    object.args = {value.real(), value.imag()};
    return Value(std::move(object));
  }
  static Value Device(c10::Device device) {
    Object object;
    object.callable = {"torch", "device"};
    object.args = {c10::DeviceTypeName(device.type(), /*lower_case=*/true)};
    if (device.has_index()) object.args.emplace_back(int{device.index()});
    return Value(std::move(object));
  }
  Result<Value> Tensor(const at::Tensor& tensor) {
    if (!tensor.defined()) return Value();
    CKPTFS_ASSIGN_OR_RETURN(TensorView view, tensors_.FromTensor(tensor));
    return Value(std::move(view));
  }

  Result<Value> Container(const c10::IValue& value) {
    const auto known = done_.find(value.internalToPointer());
    if (known != done_.end()) return known->second;
    if (++depth_ > kMaxDepth) return TooDeep();
    CKPTFS_ASSIGN_OR_RETURN(Value out, Items(value));
    --depth_;
    done_.emplace(value.internalToPointer(), out);
    return out;
  }

  Result<Value> Items(const c10::IValue& value) {
    if (value.isGenericDict()) {
      Dict dict;
      for (const auto& item : value.toGenericDict()) {
        CKPTFS_ASSIGN_OR_RETURN(Value key, Convert(item.key()));
        Result<Value> converted = Convert(item.value());
        if (!converted) {
          const std::string* name = key.AsString();
          return Fail(converted.error().WithContext(
              name != nullptr ? *name : "a value of a dict"));
        }
        dict.Assign(std::move(key), *std::move(converted));
      }
      return Value(std::move(dict));
    }
    std::vector<Value> items;
    const c10::ArrayRef<c10::IValue> from =
        value.isTuple()
            ? c10::ArrayRef<c10::IValue>(value.toTupleRef().elements())
            : value.toListRef();
    for (const c10::IValue& item : from) {
      CKPTFS_ASSIGN_OR_RETURN(Value converted, Convert(item));
      items.push_back(std::move(converted));
    }
    if (value.isTuple()) return Value(Tuple{std::move(items)});
    return Value(List{std::move(items)});
  }

  TensorConverter& tensors_;
  int depth_ = 0;
  // By address; the value at hand holds all of them.
  std::unordered_map<const void*, Value> done_;
};

class ToTorch {
 public:
  explicit ToTorch(TensorConverter& tensors) : tensors_(tensors) {}

  Result<c10::IValue> Convert(const Value& value) {
    if (value.is_none()) return c10::IValue();
    if (const auto v = value.AsBool()) return c10::IValue(*v);
    if (const auto v = value.AsInt()) return c10::IValue(*v);
    if (const auto v = value.AsDouble()) return c10::IValue(*v);
    if (const std::string* v = value.AsString()) return c10::IValue(*v);
    if (const auto v = TensorItem(value)) return Tensor(*v);
    if (const Object* v = value.AsObject()) return FromObject(*v);
    if (const List* list = value.AsList()) {
      return Known(list, [&] { return ListOf(list->items); });
    }
    if (const Tuple* tuple = value.AsTuple()) {
      return Known(tuple, [&] { return TupleOf(tuple->items); });
    }
    if (const Dict* dict = value.AsDict()) {
      return Known(dict, [&] { return DictOf(*dict); });
    }
    return NoCounterpart(value.TypeName());
  }

 private:
  static tl::unexpected<Error> NoCounterpart(const std::string& type) {
    return Fail(ErrorCode::kUnsupported,
                "a " + type + " cannot be an IValue; take it from the Value");
  }

  // One IValue for one container, however many paths lead to it.
  template <typename F>
  Result<c10::IValue> Known(const void* identity, F make) {
    const auto known = done_.find(identity);
    if (known != done_.end()) return known->second;
    if (++depth_ > kMaxDepth) return TooDeep();
    CKPTFS_ASSIGN_OR_RETURN(c10::IValue made, make());
    --depth_;
    done_.emplace(identity, made);
    return made;
  }

  Result<c10::IValue> Tensor(const TensorView& view) {
    CKPTFS_ASSIGN_OR_RETURN(at::Tensor tensor, tensors_.ToTensor(view));
    return c10::IValue(std::move(tensor));
  }

  Result<c10::IValue> FromObject(const Object& object) {
    const std::vector<Value>& args = object.args;
    if (object.Is("builtins", "complex") && args.size() == 2 &&
        args[0].AsDouble() && args[1].AsDouble()) {
      return c10::IValue(
          c10::complex<double>(*args[0].AsDouble(), *args[1].AsDouble()));
    }
    if (object.Is("torch", "Size") && args.size() == 1) {
      const Tuple* sizes = args[0].AsTuple();
      if (sizes != nullptr) return ListOf(sizes->items);
    }
    if (object.Is("torch", "device") && !args.empty() &&
        args[0].AsString() != nullptr) {
      std::string name = *args[0].AsString();
      if (args.size() > 1 && args[1].AsInt()) {
        name += ":" + std::to_string(*args[1].AsInt());
      }
      return c10::IValue(c10::Device(name));
    }
    return NoCounterpart(object.callable.module + "." + object.callable.name);
  }

  // The type that all have; Any where they differ or there are none.
  static c10::TypePtr CommonType(const std::vector<c10::IValue>& items) {
    c10::TypePtr common;
    for (const c10::IValue& item : items) {
      c10::TypePtr type = c10::AnyType::get();
      if (item.isBool()) type = c10::BoolType::get();
      if (item.isInt()) type = c10::IntType::get();
      if (item.isDouble()) type = c10::FloatType::get();
      if (item.isString()) type = c10::StringType::get();
      if (item.isTensor()) type = c10::TensorType::get();
      if (common != nullptr && *common != *type) return c10::AnyType::get();
      common = std::move(type);
    }
    return common != nullptr ? common : c10::AnyType::get();
  }

  Result<std::vector<c10::IValue>> All(const std::vector<Value>& items) {
    std::vector<c10::IValue> out;
    for (const Value& item : items) {
      CKPTFS_ASSIGN_OR_RETURN(c10::IValue converted, Convert(item));
      out.push_back(std::move(converted));
    }
    return out;
  }

  Result<c10::IValue> ListOf(const std::vector<Value>& from) {
    CKPTFS_ASSIGN_OR_RETURN(std::vector<c10::IValue> items, All(from));
    c10::impl::GenericList list(CommonType(items));
    for (c10::IValue& item : items) list.push_back(std::move(item));
    return c10::IValue(std::move(list));
  }
  Result<c10::IValue> TupleOf(const std::vector<Value>& from) {
    CKPTFS_ASSIGN_OR_RETURN(std::vector<c10::IValue> items, All(from));
    return c10::IValue(c10::ivalue::Tuple::create(std::move(items)));
  }
  Result<c10::IValue> DictOf(const Dict& from) {
    std::vector<c10::IValue> keys;
    std::vector<c10::IValue> values;
    for (const auto& [key, value] : from.items()) {
      // What a dict of IValues can hash.
      if (key.AsString() == nullptr && !key.AsInt() && !key.AsDouble() &&
          !key.AsBool()) {
        return NoCounterpart("dict with a key of type " + key.TypeName());
      }
      CKPTFS_ASSIGN_OR_RETURN(c10::IValue converted_key, Convert(key));
      Result<c10::IValue> converted = Convert(value);
      if (!converted) {
        const std::string* name = key.AsString();
        return Fail(converted.error().WithContext(
            name != nullptr ? *name : "a value of a dict"));
      }
      keys.push_back(std::move(converted_key));
      values.push_back(*std::move(converted));
    }
    c10::impl::GenericDict dict(CommonType(keys), CommonType(values));
    for (std::size_t i = 0; i < keys.size(); ++i) {
      dict.insert_or_assign(std::move(keys[i]), std::move(values[i]));
    }
    return c10::IValue(std::move(dict));
  }

  TensorConverter& tensors_;
  int depth_ = 0;
  std::unordered_map<const void*, c10::IValue> done_;
};

}  // namespace

Result<Value> FromIValue(const c10::IValue& value, TensorConverter& tensors) {
  return Guarded("convert an IValue", [&]() -> Result<Value> {
    return FromTorch(tensors).Convert(value);
  });
}

Result<c10::IValue> ToIValue(const Value& value, TensorConverter& tensors) {
  return Guarded("convert to an IValue", [&]() -> Result<c10::IValue> {
    return ToTorch(tensors).Convert(value);
  });
}

}  // namespace ckptfs::libtorch
