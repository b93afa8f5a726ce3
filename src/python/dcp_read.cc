#include "python/dcp_read.h"

#include <ckptfs/checkpoint/dcp/storage_reader.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <limits>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "checkpoint/dcp/check_metadata.h"
#include "checkpoint/engine/location.h"
#include "checkpoint/io/side_by_side.h"
#include "python/dcp_blobs.h"
#include "python/dcp_tensor.h"
#include "python/memory_use.h"
#include "python/raise.h"
#include "python/wait.h"

namespace nb = nanobind;

namespace ckptfs::python {

namespace {

using Sizes = std::vector<std::int64_t>;

// Knows the memory of each item by the hint that its index carries.
class Targets final : public DcpLoadPlanner {
 public:
  void Add(TensorView tensor) { tensors_.push_back(std::move(tensor)); }
  std::int64_t next() const {
    return static_cast<std::int64_t>(tensors_.size());
  }
  Result<TensorView> ResolveTensor(const DcpReadItem& item) override {
    return tensors_[static_cast<std::size_t>(*item.dest_index.index)];
  }
  Result<void> LoadBytes(const DcpReadItem&, Value) override { return {}; }

 private:
  std::vector<TensorView> tensors_;
};

struct Reading {
  std::string folder;
  DcpMetadata metadata;
  DcpLoadPlan plan;
  std::shared_ptr<Targets> targets = std::make_shared<Targets>();
  std::vector<DcpBlob> blobs;
  std::shared_ptr<void> owner;
};

// Metadata are Python's unpickler's, which checks nothing.
Result<void> CheckPlace(const std::string& relative_path, std::uint64_t offset,
                        std::uint64_t length) {
  std::uint64_t end = 0;
  if (StaysInFolder(relative_path) &&
      !__builtin_add_overflow(offset, length, &end) &&
      end <= std::numeric_limits<std::int64_t>::max()) {
    return {};
  }
  return Fail(ErrorCode::kInvalidArgument,
              "the metadata name a place outside of the checkpoint: " +
                  std::to_string(length) + " bytes at offset " +
                  std::to_string(offset) + " of " + relative_path);
}

// How many bytes from the first element to the last.
std::uint64_t Extent(const Sizes& sizes, const Sizes& strides,
                     std::size_t element) {
  std::uint64_t last = 0;
  for (std::size_t d = 0; d < sizes.size(); ++d) {
    if (sizes[d] == 0) return 0;
    last += static_cast<std::uint64_t>((sizes[d] - 1) * strides[d]);
  }
  return (last + 1) * element;
}

class Tensors {
 public:
  explicit Tensors(Reading& reading) : reading_(reading) {}

  Result<void> Add(const nb::tuple& parts) {
    DcpReadItem item;
    item.type = DcpReadItem::Type::kTensor;
    DcpChunk chunk;
    item.storage_index.fqn = nb::cast<std::string>(parts[0]);
    chunk.offsets = nb::cast<Sizes>(parts[1]);
    const auto dtype = nb::cast<std::string>(parts[2]);
    chunk.sizes = nb::cast<Sizes>(parts[3]);
    DcpStorageInfo info;
    info.relative_path = nb::cast<std::string>(parts[4]);
    info.offset = nb::cast<std::uint64_t>(parts[5]);
    info.length = nb::cast<std::uint64_t>(parts[6]);
    item.storage_offsets = nb::cast<Sizes>(parts[7]);
    item.lengths = nb::cast<Sizes>(parts[8]);
    auto strides = nb::cast<Sizes>(parts[10]);
    CKPTFS_RETURN_IF_ERROR(
        CheckPlace(info.relative_path, info.offset, info.length));
    CKPTFS_ASSIGN_OR_RETURN(
        TensorView target,
        TensorAt(dtype, item.lengths, strides,
                 nb::cast<std::uintptr_t>(parts[9]), 0, reading_.owner));
    Storage& storage = *target.storage;
    storage.bytes = Extent(item.lengths, strides, SizeOf(target.dtype));
    storage.memory = {
        reinterpret_cast<std::byte*>(nb::cast<std::uintptr_t>(parts[9])),
        storage.bytes};
    item.storage_index.offset = chunk.offsets;
    item.dest_index = item.storage_index;
    item.dest_index.index = reading_.targets->next();
    AddChunk(item.storage_index, target.dtype, std::move(chunk),
             std::move(info));
    reading_.targets->Add(std::move(target));
    reading_.plan.items.push_back(std::move(item));
    return {};
  }

 private:
  void AddChunk(const DcpIndex& index, DType dtype, DcpChunk chunk,
                DcpStorageInfo info) {
    DcpMetadata& metadata = reading_.metadata;
    if (!metadata.storage_data.emplace(index, std::move(info)).second) return;
    const auto [at, added] = by_fqn_.emplace(index.fqn, metadata.items.size());
    if (added) {
      DcpTensorMetadata tensor;
      tensor.properties.dtype = dtype;
      metadata.items.emplace_back(index.fqn, std::move(tensor));
    }
    std::get<DcpTensorMetadata>(metadata.items[at->second].second)
        .chunks.push_back(std::move(chunk));
  }

  Reading& reading_;
  std::map<std::string, std::size_t> by_fqn_;
};

Task<Result<void>> ReadTensors(Engine& engine, std::shared_ptr<Reading> reading,
                               std::stop_token stop) {
  LoadOptions options;
  options.stop = std::move(stop);
  const std::unique_ptr<DcpStorageReader> reader =
      MakeDcpStorageReader(engine, reading->folder, std::move(options));
  reader->SetUp(std::move(reading->metadata), false);
  Future<void> reads =
      reader->ReadData(std::move(reading->plan), reading->targets);
  Result<void> read = co_await std::move(reads);
  co_return read;
}

Task<Result<void>> ReadAll(Engine& engine, std::shared_ptr<Reading> reading,
                           std::stop_token stop) {
  IndexedWork work = [&engine, reading](std::size_t i,
                                        std::stop_token stopped) {
    if (i == 0) return ReadTensors(engine, reading, std::move(stopped));
    return ReadBlobs(engine.runtime(), std::move(reading->blobs),
                     reading->owner, std::move(stopped));
  };
  Result<void> read = co_await SideBySide(engine.runtime().strand(), 2, 2,
                                          std::move(stop), std::move(work));
  co_return read;
}

}  // namespace

nb::list ReadItems(Engine& engine, const std::string& folder,
                   const nb::list& tensors, const nb::list& blobs) {
  nb::list bytes;
  const MemoryUse use;
  std::stop_source stop;
  Future<void> reads;
  {
    const auto reading = std::make_shared<Reading>();
    reading->folder = folder;
    reading->owner = use.owner();
    Tensors added(*reading);
    for (const nb::handle item : tensors) {
      ValueOrRaise(added.Add(nb::cast<nb::tuple>(item)));
    }
    for (const nb::handle item : blobs) {
      const auto parts = nb::cast<nb::tuple>(item);
      const auto relative_path = nb::cast<std::string>(parts[0]);
      const auto offset = nb::cast<std::uint64_t>(parts[1]);
      const auto length = nb::cast<std::size_t>(parts[2]);
      ValueOrRaise(CheckPlace(relative_path, offset, length));
      // Without bytes yet: what comes goes straight there.
      const auto made =
          nb::steal(PyBytes_FromStringAndSize(nullptr, Py_ssize_t(length)));
      if (!made.is_valid()) throw nb::python_error();
      auto* const memory =
          reinterpret_cast<std::byte*>(PyBytes_AS_STRING(made.ptr()));
      bytes.append(made);
      reading->blobs.push_back(
          {JoinPath(folder, relative_path), offset, {memory, length}});
    }
    reads = engine.runtime().Start<void>(
        ReadAll(engine, reading, stop.get_token()));
  }
  ValueOrRaise(Wait(engine.runtime().strand(), std::move(reads), stop));
  return bytes;
}

}  // namespace ckptfs::python
