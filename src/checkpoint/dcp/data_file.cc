#include "checkpoint/dcp/data_file.h"

#include <algorithm>

#include "checkpoint/dcp/part_cutter.h"
#include "checkpoint/io/run_on.h"
#include "checkpoint/tensors/host_memory.h"
#include "checkpoint/tensors/tensor_copy.h"
#include "checkpoint/torch_file/torch_pickle.h"

namespace ckptfs {

namespace {

constexpr char kArchive[] = "archive";

// What torch.save is given for a shard: a tensor with a storage of its own, on
// the CPU, without gradient. A contiguous one is not copied.
Result<TensorView> Detached(const TensorView& tensor) {
  CKPTFS_RETURN_IF_ERROR(CheckBounds(tensor));
  TensorView out;
  out.dtype = tensor.dtype;
  out.shape = tensor.shape;
  out.strides = ContiguousStrides(out.shape);
  out.storage = std::make_shared<Storage>();
  const std::uint64_t bytes =
      static_cast<std::uint64_t>(tensor.numel()) * SizeOf(tensor.dtype);
  out.storage->bytes = bytes;
  if (bytes == 0) return out;
  if (tensor.contiguous()) {
    out.storage->memory = tensor.bytes();
    out.storage->owner = tensor.storage;
    return out;
  }
  CKPTFS_ASSIGN_OR_RETURN(HostMemory memory, AllocateHostMemory(bytes));
  out.storage->memory = memory.bytes;
  out.storage->owner = std::move(memory.owner);
  return out;
}

}  // namespace

Result<DataFile> DataFile::Plan(std::vector<DcpWriteItem> items,
                                DcpSavePlanner& planner) {
  std::stable_partition(items.begin(), items.end(),
                        [](const DcpWriteItem& item) {
                          return item.type == DcpWriteItem::Type::kBytes;
                        });
  DataFile file;
  for (const DcpWriteItem& item : items) {
    const Result<void> added = file.Add(item, planner);
    if (!added) return Fail(added.error().WithContext(item.index.fqn));
  }
  return file;
}

Result<void> DataFile::Add(const DcpWriteItem& write_item,
                           DcpSavePlanner& planner) {
  CKPTFS_ASSIGN_OR_RETURN(Value value, planner.ResolveData(write_item));
  Item item;
  item.index = write_item.index;
  if (write_item.type != DcpWriteItem::Type::kBytes) {
    const TensorView* tensor = TensorIn(value);
    if (tensor == nullptr || tensor->shape != write_item.chunk.sizes ||
        tensor->dtype != write_item.properties.dtype) {
      return Fail(ErrorCode::kInvalidArgument,
                  "the data are not the tensor that was planned");
    }
    CKPTFS_ASSIGN_OR_RETURN(TensorView detached, Detached(*tensor));
    if (!tensor->contiguous()) item.copy.emplace(*tensor, detached);
    value = Value(std::move(detached));
  }
  CKPTFS_ASSIGN_OR_RETURN(TorchFileWriter writer,
                          TorchFileWriter::Plan(value, kArchive));
  item.writer = std::make_unique<TorchFileWriter>(std::move(writer));
  item.offset = bytes_;
  item.length = item.writer->file_bytes();
  bytes_ += item.length;
  items_.push_back(std::move(item));
  return {};
}

std::vector<DcpWriteResult> DataFile::Results(
    const std::string& relative_path) const {
  std::vector<DcpWriteResult> results;
  for (const Item& item : items_) {
    DcpStorageInfo info;
    info.relative_path = relative_path;
    info.offset = item.offset;
    info.length = item.length;
    results.push_back({item.index, std::move(info)});
  }
  return results;
}

Task<Result<void>> DataFile::WriteTo(ByteSink& sink, Executor& pool,
                                     std::stop_token stop) {
  PartCutter cutter(sink);
  for (Item& item : items_) {
    if (item.copy) {
      Future<void> copying =
          RunOn<void>(pool, [copy = *item.copy]() -> Result<void> {
            CopyElements(copy.first, copy.second);
            return {};
          });
      item.copy.reset();
      Result<void> copied = co_await std::move(copying);
      CKPTFS_CO_RETURN_IF_ERROR(copied);
    }
    const std::unique_ptr<TorchFileWriter> writer = std::move(item.writer);
    Result<void> wrote = co_await writer->WriteTo(cutter, pool, stop);
    if (!wrote) co_return Fail(wrote.error().WithContext(item.index.fqn));
  }
  Result<void> flushed = co_await cutter.Flush();
  co_return flushed;
}

}  // namespace ckptfs
