// dcp_copy: between distributed checkpoints and torch.save files, for the tests
// that compare with Python.
//
//   dcp_copy unpack DIR OUT           the whole state
//   dcp_copy fill DIR IN OUT RANKS DIM
//       into the tensors of the file IN, each split among RANKS along DIM
//   dcp_copy save IN DIR RANKS DIM THREADS
//       the state of IN, its tensors split likewise
//   dcp_copy metadata IN OUT          a `.metadata` read and written
#include <ckptfs/checkpoint/dcp/checkpoint.h>
#include <ckptfs/checkpoint/dcp/sharded_tensor.h>
#include <ckptfs/checkpoint/torch_file.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "support/in_process_ranks.h"

namespace ckptfs {
namespace {

// The state with every tensor that has the dimension as the rank's shard of it,
// cut as torch.chunk does; shards are views of the whole tensors.
Value ShardOf(const Value& value, int rank, int ranks, int dim) {
  if (const TensorView* tensor = value.AsTensor()) {
    if (ranks == 1 || static_cast<int>(tensor->shape.size()) <= dim) {
      return value;
    }
    const auto d = static_cast<std::size_t>(dim);
    const std::int64_t size = tensor->shape[d];
    const std::int64_t each = (size + ranks - 1) / ranks;
    ShardedTensor sharded;
    sharded.dtype = tensor->dtype;
    sharded.shape = tensor->shape;
    TensorShard shard;
    shard.offsets.resize(tensor->shape.size(), 0);
    shard.offsets[d] = std::min(size, each * rank);
    shard.tensor = *tensor;
    shard.tensor.shape[d] =
        std::min(size, each * (rank + 1)) - shard.offsets[d];
    shard.tensor.offset += shard.offsets[d] * tensor->strides[d];
    sharded.shards.push_back(std::move(shard));
    return ShardedTensorValue(sharded);
  }
  if (const Dict* dict = value.AsDict()) {
    Dict out(dict->type());
    for (const auto& [key, item] : dict->items()) {
      out.Assign(key, ShardOf(item, rank, ranks, dim));
    }
    return Value(std::move(out));
  }
  if (const List* list = value.AsList()) {
    List out;
    for (const Value& item : list->items) {
      out.items.push_back(ShardOf(item, rank, ranks, dim));
    }
    return Value(std::move(out));
  }
  return value;
}

LoadOptions AllClasses() {
  LoadOptions options;
  options.weights_only = false;
  return options;
}

Result<void> Unpack(Engine& engine, const std::string& from,
                    const std::string& to) {
  DcpLoadOptions options;
  options.load = AllClasses();
  CKPTFS_ASSIGN_OR_RETURN(Value state, LoadDcp(engine, from, options).Get());
  return SaveTorchFile(engine, state, to).Get();
}

Result<void> Fill(Engine& engine, const std::string& from,
                  const std::string& into, const std::string& to, int ranks,
                  int dim) {
  CKPTFS_ASSIGN_OR_RETURN(Value state,
                          LoadTorchFile(engine, into, AllClasses()).Get());
  InProcessRanks all(ranks);
  std::vector<Future<DcpLoadReport>> loads;
  for (int rank = 0; rank < ranks; ++rank) {
    DcpLoadOptions options;
    options.coordination = &all.rank(rank);
    options.load = AllClasses();
    loads.push_back(LoadDcp(
        engine, from, ranks == 1 ? state : ShardOf(state, rank, ranks, dim),
        options));
  }
  Result<void> done;
  for (Future<DcpLoadReport>& load : loads) {
    const Result<DcpLoadReport> loaded = std::move(load).Get();
    if (!loaded) done = Fail(loaded.error());
  }
  CKPTFS_RETURN_IF_ERROR(done);
  return SaveTorchFile(engine, state, to).Get();
}

Result<void> Save(Engine& engine, const std::string& from,
                  const std::string& to, int ranks, int dim, int threads) {
  CKPTFS_ASSIGN_OR_RETURN(const Value state,
                          LoadTorchFile(engine, from, AllClasses()).Get());
  InProcessRanks all(ranks);
  std::vector<Future<void>> saves;
  for (int rank = 0; rank < ranks; ++rank) {
    DcpSaveOptions options;
    options.coordination = &all.rank(rank);
    options.thread_count = threads;
    saves.push_back(
        SaveDcp(engine, ShardOf(state, rank, ranks, dim), to, options));
  }
  Result<void> done;
  for (Future<void>& save : saves) {
    const Result<void> saved = std::move(save).Get();
    if (!saved) done = saved;
  }
  return done;
}

Result<void> CopyMetadata(const std::string& from, const std::string& to) {
  std::ifstream in(from, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(in),
                          std::istreambuf_iterator<char>()};
  CKPTFS_ASSIGN_OR_RETURN(const DcpMetadata metadata,
                          ParseDcpMetadata(std::as_bytes(std::span(bytes))));
  CKPTFS_ASSIGN_OR_RETURN(const std::string out, WriteDcpMetadata(metadata));
  std::ofstream(to, std::ios::binary) << out;
  return {};
}

Result<void> Run(const std::vector<std::string>& a) {
  Engine engine;
  if (a.size() == 3 && a[0] == "unpack") return Unpack(engine, a[1], a[2]);
  if (a.size() == 3 && a[0] == "metadata") return CopyMetadata(a[1], a[2]);
  if (a.size() == 6 && a[0] == "fill") {
    return Fill(engine, a[1], a[2], a[3], std::stoi(a[4]), std::stoi(a[5]));
  }
  if (a.size() == 6 && a[0] == "save") {
    return Save(engine, a[1], a[2], std::stoi(a[3]), std::stoi(a[4]),
                std::stoi(a[5]));
  }
  return Fail(ErrorCode::kInvalidArgument, "see the head of dcp_copy.cc");
}

}  // namespace
}  // namespace ckptfs

int main(int argc, char** argv) {
  const ckptfs::Result<void> done = ckptfs::Run({argv + 1, argv + argc});
  if (done.has_value()) return 0;
  std::fprintf(stderr, "%s\n", done.error().ToString().c_str());
  return 1;
}
