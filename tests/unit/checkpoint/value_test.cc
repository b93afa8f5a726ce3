#include <ckptfs/checkpoint/value.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

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
  for (const int keys : {1, 100}) {  // without an index, and with one
    Dict dict;
    for (int i = 0; i < keys; ++i) dict.Assign(i, i);
    Dict copy = dict;
    copy.Assign("b", 2);
    EXPECT_EQ(dict.Find("b"), nullptr);
    EXPECT_EQ(copy.Find("b")->AsInt(), 2);
    copy = dict;
    EXPECT_EQ(copy.Find("b"), nullptr);
    copy.Assign(0, 7);
    EXPECT_EQ(copy.size(), dict.size());
    EXPECT_EQ(dict.items()[0].second.AsInt(), 0);
  }
}

TEST(Dict, NumbersAreEqualAcrossTypes) {
  Dict dict;
  const std::int64_t big = 1ll << 60;
  for (const Value& key : {Value(1), Value(true), Value(1.0), Value(big),
                           Value(static_cast<double>(big))}) {
    dict.Assign(key, 1);
  }
  EXPECT_EQ(dict.size(), 2u);
  // Distinct ints that one double stands for.
  for (int i = 0; i < 1000; ++i) dict.Assign(big + i, i);
  for (int i = 0; i < 1000; ++i) dict.Assign(big + i, i);
  EXPECT_EQ(dict.size(), 1001u);
}

// Each would take minutes if a key cost what the dict, or the key, holds.
TEST(Dict, KeysThatAreEqualToNothingCostNothing) {
  constexpr int kKeys = 400'000;
  Dict nans, lists;
  for (int i = 0; i < kKeys; ++i) {
    nans.Assign(std::numeric_limits<double>::quiet_NaN(), i);
    lists.Assign(List(), i);
  }
  EXPECT_EQ(nans.size(), std::size_t{kKeys});
  EXPECT_EQ(lists.size(), std::size_t{kKeys});
  lists.Assign("a", 1);
  lists.Assign("a", 2);
  EXPECT_EQ(lists.Find("a")->AsInt(), 2);
  EXPECT_EQ(lists.size(), std::size_t{kKeys} + 1);
}

TEST(Dict, LargeKeysCostNothing) {
  const Value text(std::string(8 << 20, 'x'));
  const Value wide(Tuple{std::vector<Value>(1'000'000, Value(1))});
  // Tuples of tuples: a thousand to the eighth power of items.
  Value deep(Tuple{{Value(1)}});
  for (int i = 0; i < 8; ++i) {
    deep = Value(Tuple{std::vector<Value>(1000, deep)});
  }
  Dict dict;
  for (int i = 0; i < 20'000; ++i) {
    dict.Assign(text, i);
    dict.Assign(wide, i);
    dict.Assign(deep, i);
  }
  EXPECT_EQ(dict.Find(*text.AsString())->AsInt(), 19'999);
  EXPECT_EQ(dict.size(), 40'001u);
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
