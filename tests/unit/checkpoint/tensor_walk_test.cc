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

}  // namespace
}  // namespace ckptfs
