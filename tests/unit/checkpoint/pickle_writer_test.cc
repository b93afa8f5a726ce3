#include "checkpoint/pickle/pickle_writer.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>

#include "checkpoint/pickle/pickle_reader.h"
#include "checkpoint/torch_file/torch_pickle.h"

namespace ckptfs {
namespace {

class Numbering final : public PickleStorages {
 public:
  std::string KeyOf(const std::shared_ptr<Storage>& storage) override {
    return std::to_string(
        keys_.emplace(storage.get(), keys_.size()).first->second);
  }

 private:
  std::map<const Storage*, std::size_t> keys_;
};

Result<Value> ThroughPickle(const Value& value) {
  Numbering storages;
  CKPTFS_ASSIGN_OR_RETURN(const std::string pickle,
                          WritePickle(value, storages));
  TorchPickle handler(false, {});
  return ReadPickle(std::as_bytes(std::span(pickle)), handler);
}

std::shared_ptr<Storage> Empty(std::uint64_t bytes) {
  auto storage = std::make_shared<Storage>();
  storage->bytes = bytes;
  return storage;
}

TensorView Scalar(std::shared_ptr<Storage> storage, DType dtype) {
  TensorView tensor;
  tensor.dtype = dtype;
  tensor.storage = std::move(storage);
  return tensor;
}

// What the reader's own bounds would refuse: long bytes, many times.
TEST(PickleWriter, RepeatedBytesAreWrittenOnce) {
  List list;
  for (int i = 0; i < 100; ++i) {
    list.items.emplace_back(Bytes{std::string(100'000, '\xff')});
  }
  const Result<Value> value = ThroughPickle(Value(list));
  ASSERT_TRUE(value.has_value()) << value.error().ToString();
  ASSERT_EQ(value->AsList()->items.size(), 100u);
  EXPECT_EQ(*value->AsList()->items[99].AsBytes(), *list.items[0].AsBytes());
}

// torch.load would make one storage of uint8 of both, and a tensor of uint8 of
// the second.
TEST(PickleWriter, OneStorageHasOneType) {
  const auto storage = Empty(8);
  const Value both(List{{Value(Scalar(storage, DType::kUInt16)),
                         Value(Scalar(storage, DType::kFloat32))}});
  const Result<Value> refused = ThroughPickle(both);
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().message().find("as uint8 and float32"),
            std::string::npos)
      << refused.error().message();
  const Value bare(
      List{{Value(StorageReference{{"torch", "QInt8Storage"}, storage}),
            Value(Scalar(storage, DType::kFloat32))}});
  EXPECT_FALSE(ThroughPickle(bare).has_value());
  // Both kinds that have no storage class of their own.
  const Value untyped(List{{Value(Scalar(storage, DType::kUInt16)),
                            Value(Scalar(storage, DType::kUInt32))}});
  EXPECT_TRUE(ThroughPickle(untyped).has_value());
}

// In protocol 2 the names would stand for modules of Python 3.
TEST(PickleWriter, ModulesOfPythonTwoAreRefused) {
  for (const char* module : {"__builtin__", "copy_reg"}) {
    const Result<Value> value = ThroughPickle(Value(Global{module, "eval"}));
    ASSERT_FALSE(value.has_value());
    EXPECT_EQ(value.error().code(), ErrorCode::kUnsupported);
  }
  const Result<Value> value = ThroughPickle(Value(Global{"builtins", "set"}));
  ASSERT_TRUE(value.has_value());
  EXPECT_EQ(*value->AsGlobal(), (Global{"builtins", "set"}));
}

ErrorCode CodeOf(const Value& value) {
  const Result<Value> written = ThroughPickle(value);
  return written ? ErrorCode::kInternal : written.error().code();
}

// What torch.load could not read is an error here.
TEST(PickleWriter, WhatPythonCannotBeIsRefused) {
  EXPECT_EQ(CodeOf(Value("\xff")), ErrorCode::kInvalidArgument);
  EXPECT_EQ(CodeOf(Value("\xc0\x80")), ErrorCode::kInvalidArgument);
  EXPECT_EQ(CodeOf(Value("\xf4\x90\x80\x80")), ErrorCode::kInvalidArgument);
  EXPECT_EQ(CodeOf(Value("\xe2\x82")), ErrorCode::kInvalidArgument);
  for (const char* text :
       {"", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xed\xa0\x80"}) {
    const Result<Value> value = ThroughPickle(Value(text));
    ASSERT_TRUE(value.has_value()) << value.error().ToString();
    EXPECT_EQ(*value->AsString(), text);
  }
  Dict dict;
  dict.Assign(List(), 1);
  EXPECT_EQ(CodeOf(Value(dict)), ErrorCode::kInvalidArgument);
  EXPECT_EQ(CodeOf(Value(Set{{Value(Tuple{{Value(Dict())}})}})),
            ErrorCode::kInvalidArgument);
  Dict plain;
  plain.attributes = Value(Dict());
  EXPECT_EQ(CodeOf(Value(plain)), ErrorCode::kInvalidArgument);
  Dict ordered(Dict::Type::kOrderedDict);
  ordered.attributes = Value(List());
  EXPECT_EQ(CodeOf(Value(ordered)), ErrorCode::kInvalidArgument);
}

TEST(PickleWriter, TensorsThatTorchCannotMakeAreRefused) {
  EXPECT_EQ(CodeOf(Value(Scalar(Empty(14), DType::kFloat32))),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(CodeOf(Value(Scalar(Empty(4), DType::kQInt8))),
            ErrorCode::kUnsupported);
  TensorView integer = Scalar(Empty(8), DType::kInt64);
  integer.requires_grad = true;
  EXPECT_EQ(CodeOf(Value(integer)), ErrorCode::kInvalidArgument);
}

TEST(PickleWriter, NullPointersAreErrors) {
  EXPECT_EQ(CodeOf(Value(TensorView{})), ErrorCode::kInvalidArgument);
  EXPECT_EQ(CodeOf(Value(StorageReference{{"torch", "FloatStorage"}, nullptr})),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(CodeOf(Value(std::shared_ptr<List>())),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(CodeOf(Value(List{{Value(std::shared_ptr<Dict>())}})),
            ErrorCode::kInvalidArgument);
}

// As deep as readers admit.
TEST(PickleWriter, WhatIsReadCanBeWritten) {
  Value deep(1);
  for (int i = 0; i < 200; ++i) deep = Value(Tuple{{deep}});
  const Result<Value> value = ThroughPickle(deep);
  EXPECT_TRUE(value.has_value()) << value.error().ToString();
}

}  // namespace
}  // namespace ckptfs
