#include "checkpoint/pickle/pickle_reader.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

#include "unit/checkpoint/fixture_file.h"

namespace ckptfs {
namespace {

Result<Value> Read(const std::string& pickle, const PickleLimits& limits = {}) {
  PickleHandler handler;
  return ReadPickle(std::as_bytes(std::span(pickle)), handler, limits);
}

std::string Why(const std::string& pickle, const PickleLimits& limits = {}) {
  const Result<Value> value = Read(pickle, limits);
  if (value.has_value()) return "no error";
  EXPECT_EQ(value.error().code(), ErrorCode::kInvalidArgument);
  return value.error().message();
}

// With NULs: the size of the literal counts.
template <std::size_t N>
std::string Raw(const char (&text)[N]) {
  return std::string(text, N - 1);
}

TEST(PickleReader, Integers) {
  EXPECT_EQ(Read("K\xff.")->AsInt(), 255);
  EXPECT_EQ(Read(Raw("M\x00\x01."))->AsInt(), 256);
  EXPECT_EQ(Read("J\xff\xff\xff\xff.")->AsInt(), -1);
  EXPECT_EQ(Read(Raw("\x8a\x00."))->AsInt(), 0);
  EXPECT_EQ(Read("\x8a\x01\x80.")->AsInt(), -128);
  EXPECT_EQ(Read(Raw("\x8a\x05\x00\x00\x00\x00\x01."))->AsInt(), 1ll << 32);
  // More bytes than needed, and more than fit.
  EXPECT_EQ(
      Read(Raw("\x8a\x0a\x05\x00\x00\x00\x00\x00\x00\x00\x00\x00."))->AsInt(),
      5);
  const auto big = Read(Raw("\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x80\x00."));
  EXPECT_EQ(big->AsBigInt()->data.size(), 9u);
}

TEST(PickleReader, ProtocolFourAsPythonWritesIt) {
  const auto value = Read(FixtureBytes("protocol4.pkl"));
  ASSERT_TRUE(value.has_value()) << value.error().ToString();
  const List& list = *value->AsDict()->Find("k")->AsList();
  ASSERT_EQ(list.items.size(), 12u);
  EXPECT_EQ(list.items[0].AsDouble(), 1.5);
  EXPECT_EQ(*list.items[1].AsString(), "\xc3\xa9");
  EXPECT_EQ(list.items[2].AsSet()->items[0].AsInt(), 2);
  EXPECT_EQ(list.items[3].AsTuple()->items.size(), 0u);
  EXPECT_EQ(list.items[4].AsInt(), 1ll << 40);
  EXPECT_EQ(list.items[5].AsObject()->callable.name, "bytearray");
  // The list was multiplied: the same set twice.
  EXPECT_EQ(list.items[2].AsSet(), list.items[8].AsSet());
}

TEST(PickleReader, ObjectsKeepTheirParts) {
  // cm\nC\n () NEWOBJ, state {}, then a list item and a dict item.
  const auto value = Read(
      "cm\nC\n)\x81}b(K\x01"
      "e(K\x02K\x03u.");
  ASSERT_TRUE(value.has_value()) << value.error().ToString();
  const Object& object = *value->AsObject();
  EXPECT_TRUE(object.Is("m", "C"));
  EXPECT_EQ(object.made, Object::Made::kNew);
  EXPECT_TRUE(object.has_state);
  EXPECT_EQ(object.list_items.size(), 1u);
  EXPECT_EQ(object.dict_items.size(), 1u);
}

TEST(PickleReader, SharedStaysShared) {
  const auto value = Read(Raw("]q\x00h\x00\x86."));
  ASSERT_TRUE(value.has_value()) << value.error().ToString();
  const Tuple& pair = *value->AsTuple();
  EXPECT_EQ(pair.items[0].AsList(), pair.items[1].AsList());
}

TEST(PickleReader, SaysWhereAndWhat) {
  const std::string why = Why("K\x01K\x02\x86R.");
  EXPECT_NE(why.find("offset 5"), std::string::npos) << why;
  EXPECT_NE(why.find("0x52"), std::string::npos) << why;
}

TEST(PickleReader, RefusesWhatIsBroken) {
  EXPECT_NE(Why("").find("STOP"), std::string::npos);
  EXPECT_NE(Why(".").find("underflow"), std::string::npos);
  EXPECT_NE(Why("\x85.").find("underflow"), std::string::npos);
  EXPECT_NE(Why("K\x01u.").find("no MARK"), std::string::npos);
  // A mark protects what is below it.
  EXPECT_NE(Why("]K\x01(a.").find("underflow"), std::string::npos);
  EXPECT_NE(Why("}(K\x01u.").find("without a value"), std::string::npos);
  EXPECT_NE(Why("h\x05.").find("memo entry 5"), std::string::npos);
  EXPECT_NE(Why("X\xff\xff\xff\x7fxx.").find("over the limit"),
            std::string::npos);
  EXPECT_NE(Why(Raw("X\x10\x00\x00\x00xx.")).find("cut short"),
            std::string::npos);
  EXPECT_NE(Why("K\x01K\x02s.").find("underflow"), std::string::npos);
  EXPECT_NE(Why("\x82\x01.").find("not read here"), std::string::npos);
  EXPECT_NE(Why("\x80\x06.").find("protocol 6"), std::string::npos);
}

TEST(PickleReader, RefusesWhatContainsItself) {
  EXPECT_NE(Why(Raw("]q\x00h\x00"
                    "a."))
                .find("contains itself"),
            std::string::npos);
  EXPECT_NE(Why(Raw("}q\x00K\x01h\x00s.")).find("contains itself"),
            std::string::npos);
  // Through a tuple, as Python's pickler writes it.
  EXPECT_NE(Why(Raw("]q\x00(h\x00ta.")).find("contains itself"),
            std::string::npos);
  // Unreachable from the result: no error, and no leak.
  EXPECT_TRUE(Read(Raw("]q\x00h\x00"
                       "a0N."))
                  .has_value());
}

TEST(PickleReader, DepthIsBoundedAndNeverTheStack) {
  PickleLimits limits;
  limits.max_depth = 3;
  EXPECT_TRUE(Read("]]]aa.", limits).has_value());
  EXPECT_NE(Why("]]]]aaa.", limits).find("deeper than 3"), std::string::npos);
  const std::string deep = ")" + std::string(1'000'000, '\x85');
  EXPECT_NE(Why(deep + ".").find("nest deeper"), std::string::npos);
  EXPECT_NE(Why(deep).find("STOP"), std::string::npos);
  EXPECT_TRUE(Read(deep + "0N.").has_value());
}

TEST(PickleReader, MemoBombsStaySmall) {
  // l = [[]]; 60 times: l = [l, l]. Nothing is copied; only depth counts.
  std::string bomb = "]";
  for (int i = 0; i < 60; ++i) {
    bomb += 'q';
    bomb += static_cast<char>(i);
    bomb += "0](h";
    bomb += static_cast<char>(i);
    bomb += 'h';
    bomb += static_cast<char>(i);
    bomb += 'e';
  }
  EXPECT_TRUE(Read(bomb + ".").has_value());
  // One large memo number costs nothing.
  EXPECT_TRUE(Read("Nr\xff\xff\xff\xffj\xff\xff\xff\xff.").has_value());
}

// What the memo gives out is shared; what must be copied is bounded.
TEST(PickleReader, RepeatedArgumentsStaySmall) {
  std::string list =
      "]q" + std::string(1, '\0') + "(" + std::string(100'000, 'N') + "e0";
  for (const std::string& name :
       {std::string("__builtin__\nset\n"), std::string("m\nf\n")}) {
    std::string bomb = list;
    for (int i = 0; i < 1000; ++i) {
      bomb += "c" + name + "h" + std::string(1, '\0') + "\x85R";
    }
    const Result<Value> value = Read(bomb + ".");
    if (name == "__builtin__\nset\n") {
      ASSERT_FALSE(value.has_value());
      EXPECT_NE(value.error().message().find("over and over"),
                std::string::npos);
    } else {
      EXPECT_TRUE(value.has_value());  // the list is one for all
    }
  }
  std::string text =
      Raw("X\x00\x00\x10\x00") + std::string(1 << 20, 'x') + Raw("q\x00");
  for (int i = 0; i < 100'000; ++i) text += Raw("h\x00");
  EXPECT_TRUE(Read("(" + text + "t.").has_value());
}

// Memo numbers that fall together in a hash table would take minutes.
TEST(PickleReader, MemoNumbersCannotCollide) {
  std::string pickle = "N";
  // A number of buckets of libstdc++'s tables, times anything.
  constexpr std::uint32_t kBuckets = 62233;
  for (std::uint32_t i = 1; i < (1u << 16); ++i) {
    const std::uint32_t index = i * kBuckets;
    pickle += 'r';
    pickle.append(reinterpret_cast<const char*>(&index), sizeof index);
  }
  EXPECT_TRUE(Read(pickle + ".").has_value());
}

TEST(PickleReader, LosesNothingUnseen) {
  // A later value of an equal key replaces the first.
  const auto dict = Read("}(K\x01K\x02K\x01K\x03u.");
  ASSERT_TRUE(dict.has_value());
  ASSERT_EQ(dict->AsDict()->size(), 1u);
  EXPECT_EQ(dict->AsDict()->items()[0].second.AsInt(), 3);
  // Types keep their names.
  const auto frozen = Read("\x80\x04(K\x01\x91.");
  EXPECT_EQ(frozen->TypeName(), "builtins.frozenset");
  // A state setter: called for its effect alone.
  EXPECT_NE(Why("]cm\nset_state\n)R0.").find("dropped"), std::string::npos);
  EXPECT_NE(Why("cm\nC\n)\x81}b}b.").find("second state"), std::string::npos);
}

TEST(PickleReader, Limits) {
  PickleLimits limits;
  limits.max_values = 2;
  EXPECT_NE(Why("NNN.", limits).find("more than 2 values"), std::string::npos);
  limits = {};
  limits.max_memo = 1;
  EXPECT_NE(Why(Raw("Nq\x00q\x01."), limits).find("memo"), std::string::npos);
}

TEST(PickleReader, NoiseNeverCrashes) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const std::string good = FixtureBytes("protocol4.pkl");
  const std::string ops =
      "(.012GJKMNQRTUXabcde}hjl]qrst)u\x80\x81\x85\x86\x87\x88\x89\x8a\x8b"
      "BC\x8c\x8d\x8e\x8f\x90\x91\x92\x93\x94\x95\x96";
  for (int round = 0; round < 20000; ++round) {
    std::string pickle;
    if (round % 2 == 0) {
      pickle = good;
      pickle[random() % pickle.size()] = static_cast<char>(random());
    } else {
      for (int n = 0; n < 60; ++n) {
        pickle += random() % 8 == 0 ? static_cast<char>(random())
                                    : ops[random() % ops.size()];
      }
    }
    (void)Read(pickle);
  }
}

TEST(PickleReader, ScanNamesTheGlobals) {
  const std::string pickle = "cos\nsystem\n0cm\nC\n0cos\nsystem\n0N.";
  const auto seen = ScanPickleGlobals(std::as_bytes(std::span(pickle)));
  ASSERT_TRUE(seen.has_value());
  EXPECT_EQ(*seen, (std::vector<Global>{{"os", "system"}, {"m", "C"}}));
}

// NAME_MAPPING, `exceptions` and IMPORT_MAPPING of Lib/_compat_pickle.py.
TEST(PickleReader, NamesOfPythonTwoAreThoseOfPythonThree) {
  const auto global = [](const std::string& name, char protocol) {
    return *Read(std::string("\x80") + protocol + "c" + name + ".")->AsGlobal();
  };
  EXPECT_EQ(global("__builtin__\nxrange\n", 2), (Global{"builtins", "range"}));
  EXPECT_EQ(global("__builtin__\nunicode\n", 2), (Global{"builtins", "str"}));
  EXPECT_EQ(global("__builtin__\nset\n", 2), (Global{"builtins", "set"}));
  EXPECT_EQ(global("socket\n_socketobject\n", 2),
            (Global{"socket", "SocketType"}));
  EXPECT_EQ(global("UserDict\nUserDict\n", 2),
            (Global{"collections", "UserDict"}));
  EXPECT_EQ(global("exceptions\nKeyError\n", 2),
            (Global{"builtins", "KeyError"}));
  EXPECT_EQ(global("whichdb\nother\n", 2), (Global{"dbm", "other"}));
  EXPECT_EQ(global("copy_reg\n_reconstructor\n", 2),
            (Global{"copyreg", "_reconstructor"}));
  EXPECT_EQ(global("model\nunicode\n", 2), (Global{"model", "unicode"}));
  EXPECT_EQ(global("copy_reg\n_reconstructor\n", 3),
            (Global{"copy_reg", "_reconstructor"}));
}

}  // namespace
}  // namespace ckptfs
