#include "python/dcp_data_file.h"

#include <string>

#include "checkpoint/dcp/part_cutter.h"
#include "checkpoint/io/run_on.h"
#include "checkpoint/tensors/host_memory.h"
#include "python/gil.h"

namespace nb = nanobind;

namespace ckptfs::python {

namespace {

// What torch calls the archive of a file that it writes to a stream.
constexpr char kArchive[] = "archive";

Result<void> Fill(nb::handle fill, std::uintptr_t address) {
  const WithGil gil;
  try {
    fill(address);
  } catch (const nb::python_error& error) {
    return Fail(ErrorCode::kInternal,
                std::string("the tensor could not be copied: ") + error.what());
  }
  return {};
}

}  // namespace

DcpDataFile::Item& DcpDataFile::Add(std::uint64_t length) {
  Item& item = items_.emplace_back();
  item.place = {bytes_, length};
  bytes_ += length;
  return item;
}

void DcpDataFile::AddBytes(std::span<const std::byte> bytes,
                           std::shared_ptr<void> owner) {
  Item& item = Add(bytes.size());
  item.raw.segments.push_back(bytes);
  item.raw.owner = std::move(owner);
}

Result<void> DcpDataFile::AddTensor(TensorView tensor, nb::handle fill) {
  std::uintptr_t address = 0;
  if (fill.is_valid()) {
    // Pages that nobody has touched cost nothing until then.
    CKPTFS_ASSIGN_OR_RETURN(HostMemory memory,
                            AllocateHostMemory(tensor.storage->bytes));
    address = reinterpret_cast<std::uintptr_t>(memory.bytes.data());
    tensor.storage->memory = memory.bytes;
    tensor.storage->owner = std::move(memory.owner);
  }
  CKPTFS_RETURN_IF_ERROR(CheckBounds(tensor));
  CKPTFS_ASSIGN_OR_RETURN(
      TorchFileWriter writer,
      TorchFileWriter::Plan(Value(std::move(tensor)), kArchive));
  Item& item = Add(writer.file_bytes());
  item.writer = std::make_unique<TorchFileWriter>(std::move(writer));
  item.fill = fill;
  item.address = address;
  return {};
}

Result<void> DcpDataFile::AddRecords(std::vector<NamedRecord> records,
                                     std::shared_ptr<void> owner,
                                     std::uint64_t alignment) {
  CKPTFS_ASSIGN_OR_RETURN(
      TorchFileWriter writer,
      TorchFileWriter::PlanRecords(std::move(records), std::move(owner),
                                   kArchive, alignment));
  Item& item = Add(writer.file_bytes());
  item.writer = std::make_unique<TorchFileWriter>(std::move(writer));
  return {};
}

std::vector<DcpDataFile::Place> DcpDataFile::places() const {
  std::vector<Place> places;
  places.reserve(items_.size());
  for (const Item& item : items_) places.push_back(item.place);
  return places;
}

Task<Result<void>> DcpDataFile::WriteTo(ByteSink& sink, Executor& pool,
                                        std::stop_token stop) {
  PartCutter cutter(sink);
  for (Item& item : items_) {
    if (item.fill.is_valid()) {
      Future<void> filling =
          RunOn<void>(pool, [fill = item.fill, address = item.address] {
            return Fill(fill, address);
          });
      Result<void> filled = co_await std::move(filling);
      CKPTFS_CO_RETURN_IF_ERROR(filled);
    }
    Result<void> wrote;
    if (item.writer != nullptr) {
      const std::unique_ptr<TorchFileWriter> writer = std::move(item.writer);
      wrote = co_await writer->WriteTo(cutter, pool, stop);
    } else {
      Payload raw = std::move(item.raw);
      wrote = co_await cutter.Write(std::move(raw));
    }
    CKPTFS_CO_RETURN_IF_ERROR(wrote);
  }
  Result<void> flushed = co_await cutter.Flush();
  co_return flushed;
}

}  // namespace ckptfs::python
