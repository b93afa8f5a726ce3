#include <ATen/ATen.h>
#include <ckptfs/torch/ivalue.h>
#include <ckptfs/torch/tensor_converter.h>
#include <gtest/gtest.h>

namespace ckptfs::libtorch {
namespace {

TEST(TensorConverterTest, SharesMemoryBothWays) {
  const at::Tensor tensor = at::arange(6, at::kFloat).reshape({2, 3});
  TensorConverter converter;
  const Result<TensorView> view = converter.FromTensor(tensor);
  ASSERT_TRUE(view.has_value());
  EXPECT_EQ(view->bytes().data(), tensor.data_ptr());
  EXPECT_FALSE(converter.copied());
  const Result<at::Tensor> back = converter.ToTensor(*view);
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(back->data_ptr(), tensor.data_ptr());
  EXPECT_TRUE(back->equal(tensor));
}

TEST(TensorConverterTest, MemoryOutlivesWhatItCameFrom) {
  Result<TensorView> view = FromTensor(at::arange(1000, at::kLong));
  ASSERT_TRUE(view.has_value());
  Result<at::Tensor> back = ToTensor(*view);
  view->storage.reset();
  ASSERT_TRUE(back.has_value());
  EXPECT_TRUE(back->equal(at::arange(1000, at::kLong)));
}

TEST(TensorConverterTest, StoragesStayShared) {
  const at::Tensor base = at::arange(24, at::kFloat).reshape({4, 6});
  TensorConverter converter;
  const Result<TensorView> a = converter.FromTensor(base.t());
  const Result<TensorView> b = converter.FromTensor(base[2]);
  ASSERT_TRUE(a.has_value() && b.has_value());
  EXPECT_EQ(a->storage, b->storage);
  EXPECT_EQ(a->strides, (std::vector<std::int64_t>{1, 6}));
  EXPECT_EQ(b->offset, 12);

  TensorConverter other;
  const Result<at::Tensor> x = other.ToTensor(*a);
  const Result<at::Tensor> y = other.ToTensor(*b);
  ASSERT_TRUE(x.has_value() && y.has_value());
  EXPECT_TRUE(x->storage().is_alias_of(y->storage()));
  x->fill_(7);
  EXPECT_TRUE(y->eq(7).all().item<bool>());
}

TEST(TensorConverterTest, LazyConjugationIsDoneFirst) {
  const at::Tensor tensor =
      at::complex(at::ones({3}), at::arange(3, at::kFloat)).conj();
  ASSERT_TRUE(tensor.is_conj());
  TensorConverter converter;
  const Result<TensorView> view = converter.FromTensor(tensor);
  ASSERT_TRUE(view.has_value());
  EXPECT_TRUE(converter.copied());
  const Result<at::Tensor> back = converter.ToTensor(*view);
  ASSERT_TRUE(back.has_value());
  EXPECT_FALSE(back->is_conj());
  EXPECT_TRUE(back->equal(tensor));
}

TEST(TensorConverterTest, RefusesWhatIsMoreThanElements) {
  const at::Tensor dense = at::ones({2, 2});
  for (const at::Tensor& tensor :
       {dense.to_sparse(), dense.to(at::kMeta),
        at::quantize_per_tensor(dense, 0.1, 0, at::kQInt8)}) {
    EXPECT_EQ(FromTensor(tensor).error().code(), ErrorCode::kUnsupported);
  }
  EXPECT_EQ(FromTensor(at::Tensor()).error().code(),
            ErrorCode::kInvalidArgument);
}

TEST(TensorConverterTest, RefusesViewsThatCannotBe) {
  Result<TensorView> good = FromTensor(at::arange(6, at::kLong));
  ASSERT_TRUE(good.has_value());
  TensorView past = *good;
  past.offset = 1;
  TensorView grad = *good;
  grad.requires_grad = true;
  TensorView elsewhere = *good;
  elsewhere.storage = std::make_shared<Storage>(*good->storage);
  elsewhere.storage->location = "nowhere:0";
  TensorView empty = *good;
  empty.storage = std::make_shared<Storage>();
  empty.storage->bytes = 48;
  for (const TensorView& view : {past, grad, elsewhere, empty}) {
    const Result<at::Tensor> tensor = ToTensor(view);
    ASSERT_FALSE(tensor.has_value());
    EXPECT_EQ(tensor.error().code(), ErrorCode::kInvalidArgument)
        << tensor.error().ToString();
  }
}

TEST(IValueTest, ContainersKeepTheirTypes) {
  TensorConverter converter;
  const Value value(List{{1, 2, 3}});
  const Result<c10::IValue> ints = ToIValue(value, converter);
  ASSERT_TRUE(ints.has_value());
  EXPECT_EQ(ints->toIntVector(), (std::vector<std::int64_t>{1, 2, 3}));

  Result<TensorView> one = FromTensor(at::ones({1}));
  ASSERT_TRUE(one.has_value());
  Dict dict;
  dict.Assign("a", *one);
  const Result<c10::IValue> tensors = ToIValue(Value(dict), converter);
  ASSERT_TRUE(tensors.has_value());
  const auto typed = tensors->to<c10::Dict<std::string, at::Tensor>>();
  EXPECT_TRUE(typed.at("a").equal(at::ones({1})));
}

TEST(IValueTest, WhatIsSharedStaysShared) {
  TensorConverter converter;
  const Value inner(List{{1}});
  const Result<c10::IValue> both =
      ToIValue(Value(Tuple{{inner, inner}}), converter);
  ASSERT_TRUE(both.has_value());
  const auto& items = both->toTupleRef().elements();
  EXPECT_TRUE(items[0].is(items[1]));
  const Result<Value> back = FromIValue(*both, converter);
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(back->AsTuple()->items[0].AsList(),
            back->AsTuple()->items[1].AsList());
}

// 2^100 paths, 100 lists.
TEST(IValueTest, ManyPathsCostNoMoreThanTheirContainers) {
  Value value(List{{1}});
  for (int i = 0; i < 100; ++i) value = Value(List{{value, value}});
  TensorConverter converter;
  const Result<c10::IValue> ivalue = ToIValue(value, converter);
  ASSERT_TRUE(ivalue.has_value());
  EXPECT_TRUE(FromIValue(*ivalue, converter).has_value());
}

TEST(IValueTest, DepthIsLimited) {
  Value value(1);
  c10::IValue ivalue(1);
  for (int i = 0; i < 300; ++i) {
    value = Value(List{{value}});
    c10::impl::GenericList list(c10::AnyType::get());
    list.push_back(ivalue);
    ivalue = list;
  }
  TensorConverter converter;
  EXPECT_EQ(ToIValue(value, converter).error().code(),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(FromIValue(ivalue, converter).error().code(),
            ErrorCode::kInvalidArgument);
  c10::impl::GenericList self(c10::AnyType::get());
  self.push_back(c10::IValue(self));
  EXPECT_EQ(FromIValue(c10::IValue(self), converter).error().code(),
            ErrorCode::kInvalidArgument);
  self.clear();  // or it would never be freed
}

TEST(IValueTest, RefusesWhatIsNoData) {
  TensorConverter converter;
  EXPECT_EQ(FromIValue(c10::IValue(at::ones({1}).storage()), converter)
                .error()
                .code(),
            ErrorCode::kUnsupported);
  Dict keyed;
  keyed.Assign(Value(), 1);
  for (const Value& value : {Value(Bytes{"x"}), Value(Set{{1}}),
                             Value(Global{"torch", "float32"}), Value(keyed)}) {
    EXPECT_EQ(ToIValue(value, converter).error().code(),
              ErrorCode::kUnsupported);
  }
}

}  // namespace
}  // namespace ckptfs::libtorch
