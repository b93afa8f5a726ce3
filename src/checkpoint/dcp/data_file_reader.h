// DataFileReader: what is wanted of one `.distcp` file, with as few bytes and
// requests as that takes.
#pragma once

#include <ckptfs/checkpoint/dcp/plan.h>
#include <ckptfs/checkpoint/options.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "checkpoint/dcp/item_source.h"
#include "checkpoint/dcp/tensor_pieces.h"
#include "checkpoint/engine/engine_runtime.h"
#include "checkpoint/io/byte_source.h"
#include "checkpoint/io/scattered_read.h"
#include "checkpoint/io/side_by_side.h"
#include "checkpoint/torch_file/torch_file_reader.h"

namespace ckptfs {

// On the runtime's strand. First the heads and tails of all items (small items
// whole), then the wanted bytes of tensors; neighbours travel together.
class DataFileReader {
 public:
  struct Want {
    DcpReadItem item;
    DcpStorageInfo info;
    // Of the stored chunk; not for kBytes.
    DType dtype = DType::kFloat32;
    DcpSizes chunk;
  };

  // `got` is told of wanted bytes that have arrived. `planner` outlives this.
  DataFileReader(internal::EngineRuntime& runtime,
                 std::unique_ptr<ByteSource> file, DcpLoadPlanner& planner,
                 LoadOptions options, std::function<void(std::uint64_t)> got)
      : runtime_(runtime),
        file_(std::move(file)),
        planner_(planner),
        options_(std::move(options)),
        got_(std::move(got)) {}

  // Once. Errors name the file and the fqn.
  Task<Result<void>> Read(std::vector<Want> wants, std::stop_token stop);

 private:
  struct Range {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
  };
  // A piece of a tensor and where its bytes lie in the file.
  struct Placed {
    TensorPiece piece;
    Range range;
    std::string fqn;
    std::optional<std::uint32_t> crc;  // of a whole record
  };
  Task<Result<void>> ForEach(std::size_t n, IndexedWork work);

  Task<Result<void>> FetchEnds();
  Task<Result<void>> FetchRange(Range range, std::stop_token stop);
  // All wants of one item.
  Task<Result<void>> ReadItem(std::size_t first, std::size_t end,
                              std::stop_token stop);
  Task<Result<void>> PlacePieces(TorchFileReader& reader, std::size_t first,
                                 std::size_t end, std::stop_token stop);
  Task<Result<void>> ReadValue(std::shared_ptr<TorchFileReader> reader,
                               std::size_t want, std::stop_token stop);
  Task<Result<void>> ReadPieces();
  Task<Result<void>> ReadRun(RangeRun run, std::stop_token stop);

  internal::EngineRuntime& runtime_;
  const std::unique_ptr<ByteSource> file_;
  DcpLoadPlanner& planner_;
  const LoadOptions options_;
  const std::function<void(std::uint64_t)> got_;
  std::stop_token stop_;
  std::vector<Want> wants_;  // by offset of the item
  FetchedRanges fetched_;
  std::vector<Placed> pieces_;  // by range, once all are known
};

}  // namespace ckptfs
