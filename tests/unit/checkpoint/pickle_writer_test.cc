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

}  // namespace
}  // namespace ckptfs
