// DcpDataFile: one `.distcp` file of what Python's planner has resolved: items
// back to back, each a file of torch.save or bytes that are one already.
#pragma once

#include <ckptfs/checkpoint/tensor_view.h>
#include <ckptfs/executor.h>
#include <nanobind/nanobind.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <utility>
#include <vector>

#include "checkpoint/io/byte_sink.h"
#include "checkpoint/torch_file/torch_file_writer.h"

namespace ckptfs::python {

// Laid out with the GIL held, written without it.
class DcpDataFile {
 public:
  // Where an item is: offset and length.
  using Place = std::pair<std::uint64_t, std::uint64_t>;

  // As they are. `owner` keeps the bytes alive.
  void AddBytes(std::span<const std::byte> bytes, std::shared_ptr<void> owner);
  // A storage without memory gets some when its turn comes, which
  // `fill(address)` writes then, on a thread of the engine. The caller keeps
  // `fill` alive.
  Result<void> AddTensor(TensorView tensor, nanobind::handle fill);
  // What torch's pickler has left.
  Result<void> AddRecords(std::vector<NamedRecord> records,
                          std::shared_ptr<void> owner, std::uint64_t alignment);

  std::uint64_t bytes() const { return bytes_; }
  std::vector<Place> places() const;

  // Once. Writes all parts; the caller commits.
  Task<Result<void>> WriteTo(ByteSink& sink, Executor& pool,
                             std::stop_token stop);

 private:
  struct Item {
    Place place;
    // Until it is written, one of them:
    std::unique_ptr<TorchFileWriter> writer;
    Payload raw;
    // Of the writer's storage.
    nanobind::handle fill;
    std::uintptr_t address = 0;
  };
  Item& Add(std::uint64_t length);

  std::vector<Item> items_;
  std::uint64_t bytes_ = 0;
};

}  // namespace ckptfs::python
