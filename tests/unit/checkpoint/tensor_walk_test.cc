#include <ckptfs/checkpoint/tensor_names.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace ckptfs {
namespace {

Value Scalar() {
  TensorView tensor;
  tensor.storage = std::make_shared<Storage>();
  return Value(tensor);
}

Result<std::vector<std::string>> Names(const Value& value) {
  std::vector<std::string> names;
  CKPTFS_RETURN_IF_ERROR(
      VisitTensors(value, [&names](const std::string& name, TensorView&) {
        names.push_back(name);
      }));
  return names;
}

TEST(TensorNames, ArePathsJoinedByDots) {
  Dict inner;
  inner.Assign("w.b", Scalar());
  inner.Assign(7, List{{Value(1), Scalar()}});
  inner.Assign(Tuple{{Value("a"), Value(2)}}, Scalar());
  Dict outer;
  outer.Assign("state", inner);
  const auto names = Names(Value(outer));
  ASSERT_TRUE(names.has_value());
  EXPECT_EQ(*names,
            (std::vector<std::string>{"state.w.b", "state.7.1", "state.a.2"}));
}

// One long key above many tensors: of the names, no memory holds all.
TEST(TensorNames, LongNamesAreBounded) {
  Dict dict;
  dict.Assign(std::string(1 << 20, 'k'),
              List{std::vector<Value>(100'000, Scalar())});
  const Result<void> visited =
      VisitTensors(Value(dict), [](const std::string&, TensorView&) {});
  ASSERT_FALSE(visited.has_value());
  EXPECT_EQ(visited.error().code(), ErrorCode::kTooLarge);
  EXPECT_LT(visited.error().message().size(), 1000u);
}

// A tuple of tuples that stands for a thousand to the eighth power of names.
TEST(TensorNames, KeysThatMultiplyAreBounded) {
  Value key(Tuple{{Value("k")}});
  for (int i = 0; i < 8; ++i) {
    key = Value(Tuple{std::vector<Value>(1000, key)});
  }
  Dict dict;
  dict.Assign(key, Scalar());
  EXPECT_EQ(Names(Value(dict)).error().code(), ErrorCode::kTooLarge);
}

// Keys that lead to nothing are not put together: it would take minutes.
TEST(TensorNames, LongKeysWithoutTensorsCostNothing) {
  const Value key(std::string(1 << 20, 'k'));
  List list;
  for (int i = 0; i < 300'000; ++i) {
    Dict dict;
    dict.Assign(key, List());
    list.items.emplace_back(std::move(dict));
  }
  const auto names = Names(Value(std::move(list)));
  ASSERT_TRUE(names.has_value());
  EXPECT_TRUE(names->empty());
}

// p.mask = tensor: _rebuild_parameter_with_state(data, True, hooks, state).
TEST(TensorNames, AttributesOfAParameter) {
  Dict attributes;
  attributes.Assign("mask", Scalar());
  Object parameter;
  parameter.callable = {"torch._utils", "_rebuild_parameter_with_state"};
  parameter.args = {Scalar(), Value(true), Value(Dict()), Value(attributes)};
  Dict dict;
  dict.Assign("p", parameter);
  EXPECT_EQ(*Names(Value(dict)), (std::vector<std::string>{"p", "p.3.mask"}));
}

TEST(TensorNames, NullStoragesAndCyclesAreErrors) {
  Dict dict;
  dict.Assign("w", TensorView{});
  const auto without = Names(Value(dict));
  ASSERT_FALSE(without.has_value());
  EXPECT_EQ(without.error().code(), ErrorCode::kInvalidArgument);
  EXPECT_NE(without.error().message().find("w: "), std::string::npos);
  const auto cycle = std::make_shared<List>();
  cycle->items = {Scalar(), Value(cycle)};
  EXPECT_EQ(Names(Value(cycle)).error().code(), ErrorCode::kInvalidArgument);
  cycle->items.clear();
}

}  // namespace
}  // namespace ckptfs
