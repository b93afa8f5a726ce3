// dcp_reshard FOLDER RANK RANKS OUT: the rows that rank RANK of RANKS holds, of
// every tensor of a distributed checkpoint, into the torch.save file OUT.
//
// The ranks that saved the checkpoint may have been any other number, and may
// have cut it any other way; only the bytes of the wanted rows move. As when a
// model that was trained on 64 GPUs is served by 2:
//
//   dcp_reshard s3://bucket/run/step-100 0 2 part-0.pt
//   dcp_reshard s3://bucket/run/step-100 1 2 part-1.pt
#include <ckptfs/checkpoint/dcp/checkpoint.h>
#include <ckptfs/checkpoint/dcp/sharded_tensor.h>
#include <ckptfs/checkpoint/dcp/storage_reader.h>
#include <ckptfs/checkpoint/torch_file.h>

#include <algorithm>
#include <atomic>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace {

// Memory for the tensor, which nothing else shares.
ckptfs::TensorView NewTensor(ckptfs::DType dtype, ckptfs::DcpSizes shape) {
  ckptfs::TensorView tensor;
  tensor.dtype = dtype;
  tensor.strides = ckptfs::ContiguousStrides(shape);
  tensor.shape = std::move(shape);
  const auto bytes =
      static_cast<std::size_t>(tensor.numel()) * ckptfs::SizeOf(dtype);
  const auto memory = std::make_shared<std::vector<std::byte>>(bytes);
  tensor.storage = std::make_shared<ckptfs::Storage>();
  tensor.storage->bytes = bytes;
  tensor.storage->memory = *memory;
  tensor.storage->owner = memory;
  return tensor;
}

// What this rank holds of a tensor: rows as torch.chunk deals them out. Scalars
// are on every rank.
ckptfs::ShardedTensor RowsOf(const ckptfs::DcpTensorMetadata& stored,
                             std::int64_t rank, std::int64_t ranks) {
  ckptfs::ShardedTensor sharded;
  sharded.dtype = stored.properties.dtype;
  sharded.shape = stored.size;
  ckptfs::DcpSizes offsets(stored.size.size(), 0);
  ckptfs::DcpSizes shape = stored.size;
  if (!shape.empty()) {
    const std::int64_t each = (shape[0] + ranks - 1) / ranks;
    offsets[0] = std::min(each * rank, shape[0]);
    shape[0] = std::min(each * (rank + 1), shape[0]) - offsets[0];
  }
  sharded.shards.push_back(
      {std::move(offsets), NewTensor(sharded.dtype, std::move(shape))});
  return sharded;
}

int Failed(const ckptfs::Error& error) {
  std::fprintf(stderr, "%s\n", error.ToString().c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  const std::int64_t rank = argc == 5 ? std::atoll(argv[2]) : -1;
  const std::int64_t ranks = argc == 5 ? std::atoll(argv[3]) : 0;
  if (rank < 0 || rank >= ranks) {
    std::fprintf(stderr, "usage: %s FOLDER RANK RANKS OUT\n", argv[0]);
    return 2;
  }
  const std::string folder = argv[1];
  ckptfs::Engine engine;

  // What there is, and its shapes.
  const ckptfs::Result<ckptfs::DcpMetadata> metadata =
      ckptfs::MakeDcpStorageReader(engine, folder)->ReadMetadata().Get();
  if (!metadata.has_value()) return Failed(metadata.error());

  // The state to load into, and the same tensors as what they are locally.
  ckptfs::Dict state;
  ckptfs::Dict local;
  for (const auto& [name, item] : metadata->items) {
    const auto* stored = std::get_if<ckptfs::DcpTensorMetadata>(&item);
    if (stored == nullptr) continue;  // a value that is no tensor
    const ckptfs::ShardedTensor rows = RowsOf(*stored, rank, ranks);
    local.Assign(name, rows.shards.front().tensor);
    state.Assign(name, ckptfs::ShardedTensorValue(rows));
  }

  std::atomic<std::uint64_t> moved = 0;
  ckptfs::DcpLoadOptions options;
  options.load.progress = [&](std::uint64_t done, std::uint64_t) {
    moved = done;
  };
  const std::size_t tensors = state.size();
  const ckptfs::Result<ckptfs::DcpLoadReport> loaded =
      ckptfs::LoadDcp(engine, folder, std::move(state), options).Get();
  if (!loaded.has_value()) return Failed(loaded.error());

  const ckptfs::Result<void> saved =
      ckptfs::SaveTorchFile(engine, std::move(local), argv[4]).Get();
  if (!saved.has_value()) return Failed(saved.error());
  std::printf("%zu tensors, %" PRIu64 " bytes moved\n", tensors, moved.load());
  return 0;
}
