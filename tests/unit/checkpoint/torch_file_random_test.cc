// Random states: whatever is shared, strided, filtered or loaded in place,
// every tensor that is wanted comes back element by element.
#include <ckptfs/checkpoint/tensor_names.h>
#include <ckptfs/checkpoint/torch_file.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "unit/checkpoint/engine_fixture.h"

namespace ckptfs {
namespace {

constexpr char kPath[] = "s3://bucket/random.pt";

class TorchFileRandom : public EngineTest,
                        public ::testing::WithParamInterface<unsigned> {
 protected:
  std::int64_t Pick(std::int64_t from, std::int64_t to) {
    return std::uniform_int_distribution<std::int64_t>(from, to)(random);
  }
  bool OneIn(int n) { return Pick(1, n) == 1; }

  DType PickDType() {
    constexpr DType kAll[] = {DType::kUInt8, DType::kBFloat16, DType::kFloat32,
                              DType::kInt64, DType::kComplex128};
    return kAll[Pick(0, 4)];
  }
  std::vector<std::int64_t> PickShape() {
    std::vector<std::int64_t> shape(static_cast<std::size_t>(Pick(0, 3)));
    for (std::int64_t& size : shape) size = OneIn(20) ? 0 : Pick(1, 40);
    return shape;
  }
  // Some view of a storage that has room for it: offset, permuted, spread.
  TensorView PickView(DType dtype, std::vector<std::int64_t> shape,
                      std::shared_ptr<Storage> storage) {
    TensorView tensor;
    tensor.dtype = dtype;
    tensor.strides.assign(shape.size(), 0);
    std::vector<std::size_t> order(shape.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    if (OneIn(2))
      std::shuffle(order.begin(), order.end(), random);
    else
      std::reverse(order.begin(), order.end());
    std::int64_t next = OneIn(4) ? 2 : 1;
    for (const std::size_t i : order) {
      tensor.strides[i] = next;
      next *= std::max<std::int64_t>(shape[i], 1);
    }
    tensor.shape = std::move(shape);
    const std::int64_t needed = next + 2;
    tensor.offset = OneIn(2) ? 0 : Pick(0, 200);
    const auto bytes =
        static_cast<std::size_t>(needed + tensor.offset) * SizeOf(dtype);
    if (storage == nullptr || storage->bytes < bytes) {
      storage = Filled(bytes, static_cast<unsigned>(Pick(0, 255)));
    }
    tensor.storage = std::move(storage);
    EXPECT_TRUE(CheckBounds(tensor));
    return tensor;
  }
  // One that is expanded to be read alone.
  TensorView PickTensor() {
    // torch has one dtype for all views of a storage.
    const DType dtype = PickDType();
    std::vector<std::shared_ptr<Storage>>& known = storages[dtype];
    std::shared_ptr<Storage> shared;
    if (!known.empty() && OneIn(2)) {
      shared = known[static_cast<std::size_t>(
          Pick(0, static_cast<std::int64_t>(known.size()) - 1))];
    }
    TensorView tensor = PickView(dtype, PickShape(), shared);
    known.push_back(tensor.storage);
    if (!tensor.shape.empty() && OneIn(8)) tensor.strides[0] = 0;
    return tensor;
  }

  // The elements in row-major order.
  static std::string Elements(const TensorView& tensor) {
    const std::size_t element = SizeOf(tensor.dtype);
    std::string out;
    if (tensor.numel() == 0) return out;
    std::vector<std::int64_t> index(tensor.shape.size(), 0);
    while (true) {
      std::int64_t at = tensor.offset;
      for (std::size_t i = 0; i < index.size(); ++i) {
        at += index[i] * tensor.strides[i];
      }
      out.append(reinterpret_cast<const char*>(tensor.storage->memory.data()) +
                     static_cast<std::size_t>(at) * element,
                 element);
      std::size_t i = index.size();
      while (i > 0 && ++index[i - 1] == tensor.shape[i - 1]) index[--i] = 0;
      if (i == 0) return out;
    }
  }
  static std::map<std::string, TensorView> TensorsOf(const Value& value) {
    std::map<std::string, TensorView> out;
    EXPECT_TRUE(VisitTensors(
        value, [&](const std::string& n, TensorView& t) { out[n] = t; }));
    return out;
  }

  std::mt19937 random{GetParam()};
  std::map<DType, std::vector<std::shared_ptr<Storage>>> storages;
};

TEST_P(TorchFileRandom, ComesBackElementByElement) {
  SCOPED_TRACE("seed " + std::to_string(GetParam()));
  Dict state;
  List list;
  for (std::int64_t i = Pick(1, 25); i > 0; --i) {
    Value tensor = PickTensor();
    if (OneIn(3)) list.items.push_back(tensor);
    if (OneIn(5)) state.Assign("again." + std::to_string(i), tensor);
    state.Assign(i, std::move(tensor));
  }
  state.Assign("list", std::move(list));
  const Value value(std::move(state));
  const auto saved = TensorsOf(value);
  const Result<void> done = SaveTorchFile(engine, value, kPath).Get();
  ASSERT_TRUE(done) << done.error().ToString();

  std::set<std::string> wanted;
  for (const auto& [name, tensor] : saved) {
    if (OneIn(3)) wanted.insert(name);
  }
  LoadOptions part;
  part.filter = [&](std::string_view name) {
    return wanted.contains(std::string(name));
  };
  part.verify_crc = true;
  const Result<Value> some = LoadTorchFile(engine, kPath, part).Get();
  ASSERT_TRUE(some) << some.error().ToString();
  const auto in_part = TensorsOf(*some);
  for (const std::string& name : wanted) {
    ASSERT_EQ(Elements(in_part.at(name)), Elements(saved.at(name))) << name;
  }

  Dict targets;
  for (const auto& [name, tensor] : saved) {
    targets.Assign(name, PickView(tensor.dtype, tensor.shape, nullptr));
  }
  const Value into(std::move(targets));
  const Result<LoadReport> report =
      LoadTorchFileInto(engine, kPath, into).Get();
  ASSERT_TRUE(report) << report.error().ToString();
  for (const auto& [name, tensor] : TensorsOf(into)) {
    ASSERT_EQ(Elements(tensor), Elements(saved.at(name))) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, TorchFileRandom, ::testing::Range(0u, 60u));

}  // namespace
}  // namespace ckptfs
