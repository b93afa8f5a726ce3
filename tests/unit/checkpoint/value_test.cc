#include <ckptfs/checkpoint/value.h>
#include <gtest/gtest.h>

namespace ckptfs {
namespace {

TEST(Dict, AssignReplacesEqualKeys) {
  Dict dict;
  dict.Assign("a", 1);
  dict.Assign(7, "seven");
  dict.Assign("a", 2);
  dict.Assign(7, "again");
  dict.Assign(Tuple{{Value(1), Value("x")}}, 3);
  dict.Assign(Tuple{{Value(1), Value("x")}}, 4);
  ASSERT_EQ(dict.size(), 3u);
  EXPECT_EQ(dict.Find("a")->AsInt(), 2);
  EXPECT_EQ(*dict.items()[1].second.AsString(), "again");
  EXPECT_EQ(dict.items()[2].second.AsInt(), 4);
}

TEST(Dict, FindsAndErases) {
  Dict dict;
  for (int i = 0; i < 100; ++i) dict.Assign(std::to_string(i), i);
  EXPECT_EQ(dict.Find("42")->AsInt(), 42);
  EXPECT_EQ(dict.Find("100"), nullptr);
  EXPECT_TRUE(dict.Erase("42"));
  EXPECT_FALSE(dict.Erase("42"));
  EXPECT_EQ(dict.Find("42"), nullptr);
  EXPECT_EQ(dict.Find("43")->AsInt(), 43);
  EXPECT_EQ(dict.size(), 99u);
}

TEST(Dict, ACopyIsItsOwn) {
  Dict dict;
  dict.Assign("a", 1);
  Dict copy = dict;
  copy.Assign("b", 2);
  EXPECT_EQ(dict.Find("b"), nullptr);
  EXPECT_EQ(copy.Find("b")->AsInt(), 2);
}

TEST(Value, SharesContainers) {
  const Value list = List{{Value(1)}};
  const Value same = list;
  same.AsList()->items.emplace_back(2);
  EXPECT_EQ(list.AsList()->items.size(), 2u);
  EXPECT_EQ(Value(true).AsInt(), std::nullopt);
  EXPECT_EQ(Value(Dict(Dict::Type::kOrderedDict)).TypeName(),
            "collections.OrderedDict");
}

}  // namespace
}  // namespace ckptfs
