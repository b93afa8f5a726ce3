// EngineTest: an Engine over buckets in memory, and a folder for plain files.
#pragma once

#include <ckptfs/checkpoint/value.h>
#include <ckptfs/engine.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "store/memory_object_store.h"
#include "support/fault_object_store.h"

namespace ckptfs {

class EngineTest : public ::testing::Test {
 protected:
  EngineTest() {
    std::string name = ::testing::TempDir() + "ckptfs-engine-XXXXXX";
    folder = mkdtemp(name.data());
  }
  ~EngineTest() override { std::filesystem::remove_all(folder); }

  EngineOptions Options() {
    EngineOptions options;
    options.part_bytes = 5 << 20;
    options.work_threads = 2;
    options.open_store =
        [this](
            const S3StoreOptions& s3) -> Result<std::unique_ptr<ObjectStore>> {
      opened.push_back(s3.bucket);
      auto faults = std::make_unique<FaultObjectStore>(bucket);
      store = faults.get();
      return faults;
    };
    return options;
  }

  // Bytes that tell where they are.
  static std::shared_ptr<Storage> Filled(std::size_t bytes, unsigned seed) {
    auto memory = std::make_shared<std::string>(bytes, '\0');
    for (std::size_t i = 0; i < bytes; ++i) {
      (*memory)[i] = static_cast<char>((i * 31 + i / 251 + seed) & 0xFF);
    }
    auto storage = std::make_shared<Storage>();
    storage->bytes = bytes;
    storage->memory = std::as_writable_bytes(std::span(*memory));
    storage->owner = memory;
    return storage;
  }
  static TensorView Tensor(std::shared_ptr<Storage> storage,
                           std::vector<std::int64_t> shape,
                           std::int64_t offset = 0) {
    TensorView tensor;
    tensor.shape = std::move(shape);
    tensor.strides = ContiguousStrides(tensor.shape);
    tensor.offset = offset;
    tensor.storage = std::move(storage);
    return tensor;
  }
  static TensorView NewTensor(std::vector<std::int64_t> shape, unsigned seed) {
    std::size_t bytes = sizeof(float);
    for (const std::int64_t size : shape) bytes *= size;
    return Tensor(Filled(bytes, seed), std::move(shape));
  }
  static std::string BytesOf(const TensorView& tensor) {
    const auto bytes = tensor.bytes();
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  static Value State(std::vector<std::pair<std::string, Value>> items) {
    Dict dict;
    for (auto& [key, value] : items) dict.Assign(key, std::move(value));
    return Value(std::move(dict));
  }

  MemoryObjectStore bucket;
  std::vector<std::string> opened;    // buckets, in order
  FaultObjectStore* store = nullptr;  // the last one that was opened
  std::string folder;
  Engine engine{Options()};
};

}  // namespace ckptfs
