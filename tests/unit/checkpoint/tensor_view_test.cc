#include <ckptfs/checkpoint/tensor_view.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

namespace ckptfs {
namespace {

constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();

TensorView Of(std::vector<std::int64_t> shape,
              std::vector<std::int64_t> strides, std::int64_t offset,
              std::uint64_t storage_bytes) {
  TensorView tensor;
  tensor.shape = std::move(shape);
  tensor.strides = std::move(strides);
  tensor.offset = offset;
  tensor.storage = std::make_shared<Storage>();
  tensor.storage->bytes = storage_bytes;
  return tensor;
}

TEST(TensorView, Contiguity) {
  EXPECT_TRUE(Of({2, 3}, {3, 1}, 0, 24).contiguous());
  EXPECT_TRUE(Of({2, 1, 3}, {3, 77, 1}, 0, 24).contiguous());
  EXPECT_FALSE(Of({2, 3}, {1, 2}, 0, 24).contiguous());
  EXPECT_TRUE(Of({0, 3}, {9, 9}, 0, 0).contiguous());
  EXPECT_TRUE(Of({}, {}, 0, 4).contiguous());
  const std::vector<std::int64_t> shape = {2, 0, 3};
  EXPECT_EQ(ContiguousStrides(shape), (std::vector<std::int64_t>{3, 3, 1}));
}

TEST(TensorView, Bounds) {
  EXPECT_TRUE(CheckBounds(Of({2, 3}, {3, 1}, 0, 24)).has_value());
  EXPECT_FALSE(CheckBounds(Of({2, 3}, {3, 1}, 0, 23)).has_value());
  EXPECT_FALSE(CheckBounds(Of({2, 3}, {3, 1}, 1, 24)).has_value());
  EXPECT_TRUE(CheckBounds(Of({}, {}, 0, 4)).has_value());
  EXPECT_FALSE(CheckBounds(Of({}, {}, 0, 3)).has_value());
  // Expanded: every element is the same one.
  EXPECT_TRUE(CheckBounds(Of({1000}, {0}, 0, 4)).has_value());
  // Without elements nothing is reached.
  EXPECT_TRUE(CheckBounds(Of({0}, {1}, 0, 0)).has_value());
  EXPECT_FALSE(CheckBounds(Of({-1}, {1}, 0, 4)).has_value());
  EXPECT_FALSE(CheckBounds(Of({1}, {-1}, 0, 4)).has_value());
  EXPECT_FALSE(CheckBounds(Of({1}, {1}, -1, 4)).has_value());
  EXPECT_FALSE(CheckBounds(Of({1}, {1, 1}, 0, 4)).has_value());
  EXPECT_FALSE(CheckBounds(Of({kMax, kMax}, {1, 1}, 0, 4)).has_value());
  EXPECT_FALSE(CheckBounds(Of({2, 2}, {kMax, kMax}, 0, 4)).has_value());
  EXPECT_FALSE(CheckBounds(Of({1}, {1}, kMax, 4)).has_value());
}

TEST(DType, NamesAreFoundAgain) {
  EXPECT_EQ(DTypeFromTorchName("bfloat16"), DType::kBFloat16);
  EXPECT_EQ(DTypeFromStorageClass("LongStorage"), DType::kInt64);
  EXPECT_EQ(DTypeFromSafetensorsName("F8_E5M2"), DType::kFloat8E5M2);
  EXPECT_EQ(DTypeFromStorageClass(""), std::nullopt);
  EXPECT_EQ(DTypeFromTorchName("float31"), std::nullopt);
  EXPECT_EQ(SizeOf(DType::kComplex128), 16u);
}

}  // namespace
}  // namespace ckptfs
