#include "checkpoint/dcp/data_file_reader.h"

#include <algorithm>
#include <utility>

#include "checkpoint/io/run_on.h"
#include "checkpoint/io/string_destination.h"
#include "checkpoint/tensors/host_memory.h"
#include "checkpoint/tensors/tensor_copy.h"
#include "checkpoint/torch_file/load_plan.h"
#include "checkpoint/torch_file/torch_pickle.h"
#include "checkpoint/zip/crc32.h"
#include "transfer/when_all.h"

namespace ckptfs {

namespace {

// Holds the pickle and the headers of a tensor's item, whose archive is called
// "archive" (1.2 KiB), and its directory (1 KiB).
constexpr std::uint64_t kEndBytes = 4096;
// Items of this size are fetched whole at once.
constexpr std::uint64_t kSmallItem = 64ull << 10;
// Ranges that lie no further apart travel together.
constexpr std::uint64_t kMaxGap = 8192;
constexpr std::uint64_t kMaxRun = 64ull << 20;
constexpr std::uint64_t kMaxFetched = 8ull << 20;
constexpr std::size_t kInFlight = 16;

}  // namespace

Task<Result<void>> DataFileReader::Read(std::vector<Want> wants,
                                        std::stop_token stop) {
  wants_ = std::move(wants);
  stop_ = std::move(stop);
  std::stable_sort(wants_.begin(), wants_.end(),
                   [](const Want& a, const Want& b) {
                     return a.info.offset < b.info.offset;
                   });
  Result<void> done = co_await FetchEnds();
  if (done) {
    std::vector<std::size_t> firsts;
    for (std::size_t i = 0; i < wants_.size(); ++i) {
      if (i == 0 || wants_[i].info.offset != wants_[i - 1].info.offset) {
        firsts.push_back(i);
      }
    }
    firsts.push_back(wants_.size());
    std::function<Task<Result<void>>(std::size_t)> work =
        [this, &firsts](std::size_t i) {
          return ReadItem(firsts[i], firsts[i + 1]);
        };
    done = co_await ForEach(firsts.size() - 1, std::move(work));
  }
  if (done) done = co_await ReadPieces();
  co_return done;
}

Task<Result<void>> DataFileReader::ForEach(
    std::size_t n, std::function<Task<Result<void>>(std::size_t)> work) {
  std::size_t next = 0;
  std::optional<Error> error;
  std::vector<Task<void>> workers;
  for (std::size_t i = 0; i < std::min(kInFlight, n); ++i) {
    workers.push_back(Worker(n, &next, &error, &work));
  }
  co_await WhenAll(runtime_.strand(), std::move(workers));
  if (error) co_return Fail(*error);
  co_return Result<void>();
}

Task<void> DataFileReader::Worker(
    std::size_t n, std::size_t* next, std::optional<Error>* error,
    const std::function<Task<Result<void>>(std::size_t)>* work) {
  while (!*error && *next < n) {
    Task<Result<void>> task = (*work)((*next)++);
    Result<void> done = co_await std::move(task);
    if (!done && !*error) *error = done.error();
  }
}

Task<Result<void>> DataFileReader::FetchEnds() {
  std::vector<Range> ranges;
  const auto add = [&ranges](std::uint64_t begin, std::uint64_t end) {
    if (!ranges.empty() && begin <= ranges.back().end + kMaxGap &&
        end - ranges.back().begin <= kMaxFetched) {
      ranges.back().end = std::max(ranges.back().end, end);
    } else {
      ranges.push_back({begin, end});
    }
  };
  for (const Want& want : wants_) {
    const std::uint64_t begin = want.info.offset;
    const std::uint64_t end = begin + want.info.length;
    if (want.info.length <= kSmallItem) {
      add(begin, end);
    } else {
      add(begin, begin + kEndBytes);
      add(end - kEndBytes, end);
    }
  }
  // The first request finds the file, and brings what it can.
  const Range first = ranges.front();
  const bool at_start = first.begin == 0 && first.end > 0;
  auto buffer =
      std::make_shared<std::string>(at_start ? first.end : kEndBytes, '\0');
  Destination into = IntoString(buffer);
  Result<std::uint64_t> size = co_await file_->Open(std::move(into), stop_);
  CKPTFS_CO_RETURN_IF_ERROR(size);
  for (const Want& want : wants_) {
    if (want.info.offset > *size ||
        want.info.length > *size - want.info.offset) {
      co_return Fail(ErrorCode::kInvalidArgument,
                     want.item.storage_index.fqn + ": " + file_->name() +
                         " has " + std::to_string(*size) +
                         " bytes, and no item of " +
                         std::to_string(want.info.length) + " at " +
                         std::to_string(want.info.offset));
    }
  }
  buffer->resize(std::min<std::uint64_t>(buffer->size(), *size));
  fetched_.Add(0, buffer);
  if (at_start) ranges.erase(ranges.begin());
  std::function<Task<Result<void>>(std::size_t)> work =
      [this, &ranges](std::size_t i) { return FetchRange(ranges[i]); };
  Result<void> done = co_await ForEach(ranges.size(), std::move(work));
  co_return done;
}

Task<Result<void>> DataFileReader::FetchRange(Range range) {
  auto buffer = std::make_shared<std::string>(range.end - range.begin, '\0');
  Destination into = IntoString(buffer);
  if (!fetched_.CopyTo(range.begin, into)) {
    Result<void> read =
        co_await file_->Read(range.begin, std::move(into), stop_);
    CKPTFS_CO_RETURN_IF_ERROR(read);
  }
  fetched_.Add(range.begin, std::move(buffer));
  co_return Result<void>();
}

Task<Result<void>> DataFileReader::ReadItem(std::size_t first,
                                            std::size_t end) {
  const Want& want = wants_[first];
  const std::string& fqn = want.item.storage_index.fqn;
  std::string name = file_->name() + ", " + fqn + " at offset " +
                     std::to_string(want.info.offset);
  auto source = std::make_unique<ItemSource>(
      *file_, fetched_, std::move(name), want.info.offset, want.info.length);
  TorchFileReadOptions options;
  options.head_bytes = kEndBytes;
  options.tail_bytes = kEndBytes;
  // Tensors hold nothing that weights_only refuses.
  options.weights_only =
      options_.weights_only || want.item.type == DcpReadItem::Type::kTensor;
  options.safe_globals = options_.safe_globals;
  Result<std::unique_ptr<TorchFileReader>> opened =
      co_await TorchFileReader::Open(std::move(source), runtime_.strand(),
                                     runtime_.pool(), std::move(options),
                                     stop_);
  CKPTFS_CO_RETURN_IF_ERROR(opened);
  const std::shared_ptr<TorchFileReader> reader = *std::move(opened);
  Result<void> done;
  if (want.item.type == DcpReadItem::Type::kTensor) {
    done = co_await PlacePieces(*reader, first, end);
  } else {
    for (std::size_t i = first; done && i < end; ++i) {
      done = co_await ReadValue(reader, i);
    }
  }
  if (!done) co_return Fail(done.error().WithContext(reader->name()));
  co_return done;
}

Task<Result<void>> DataFileReader::PlacePieces(TorchFileReader& reader,
                                               std::size_t first,
                                               std::size_t end) {
  const Want& want = wants_[first];
  const TensorView* stored = TensorIn(reader.value());
  if (stored == nullptr || reader.records().size() != 1 ||
      stored->dtype != want.dtype || stored->shape != want.chunk) {
    co_return Fail(ErrorCode::kInvalidArgument,
                   "the item is not the tensor that the metadata say");
  }
  const TensorView from = *stored;
  const ZipEntry entry = reader.records().front().entry;
  if (entry.deflated) {
    co_return Fail(ErrorCode::kUnsupported,
                   "record " + entry.name + " is compressed");
  }
  Result<std::uint64_t> payload =
      co_await reader.zip().PayloadOffset(entry, stop_);
  CKPTFS_CO_RETURN_IF_ERROR(payload);
  const std::uint64_t base = want.info.offset + *payload;
  for (std::size_t i = first; i < end; ++i) {
    const DcpReadItem& item = wants_[i].item;
    // Metadata may name one place by several names.
    if (wants_[i].dtype != from.dtype || wants_[i].chunk != from.shape) {
      co_return Fail(ErrorCode::kInvalidArgument,
                     item.storage_index.fqn +
                         ": the item is not the tensor that the metadata say");
    }
    Result<TensorView> to = planner_.ResolveTensor(item);
    CKPTFS_CO_RETURN_IF_ERROR(to);
    if (to->shape != item.lengths || to->dtype != from.dtype) {
      co_return Fail(ErrorCode::kInvalidArgument,
                     "the destination has another shape or dtype");
    }
    std::vector<TensorPiece> pieces;
    CutIntoPieces(Narrowed(from, item.storage_offsets, item.lengths), *to,
                  pieces);
    for (TensorPiece& piece : pieces) {
      Placed placed;
      const auto [from_byte, to_byte] = ByteExtent(piece.from);
      placed.range = {base + from_byte, base + to_byte};
      if (options_.verify_crc && piece.direct && from_byte == 0 &&
          to_byte == entry.bytes) {
        placed.crc = entry.crc32;
      }
      placed.piece = std::move(piece);
      placed.fqn = item.storage_index.fqn;
      pieces_.push_back(std::move(placed));
    }
  }
  co_return Result<void>();
}

Task<Result<void>> DataFileReader::ReadValue(
    std::shared_ptr<TorchFileReader> reader, std::size_t want) {
  // What a filter lets pass is wanted whole.
  LoadOptions options = options_;
  options.filter = nullptr;
  Result<LoadPlan> planned = LoadPlan::OfNew(*reader, options);
  CKPTFS_CO_RETURN_IF_ERROR(planned);
  const auto plan = std::make_shared<const LoadPlan>(*std::move(planned));
  std::vector<TorchFileReader::Want> wants = plan->wants();
  Result<void> read = co_await reader->Read(std::move(wants), plan->owner(),
                                            runtime_.pool(), stop_);
  CKPTFS_CO_RETURN_IF_ERROR(read);
  Future<void> finishing = RunOn<void>(
      runtime_.pool(), [plan, verify = options_.verify_crc]() -> Result<void> {
        if (verify) CKPTFS_RETURN_IF_ERROR(plan->VerifyCrcs());
        plan->CopyRest();
        return {};
      });
  Result<void> finished = co_await std::move(finishing);
  CKPTFS_CO_RETURN_IF_ERROR(finished);
  Result<void> loaded = planner_.LoadBytes(wants_[want].item, reader->value());
  if (loaded && got_) got_(wants_[want].info.length);
  co_return loaded;
}

Task<Result<void>> DataFileReader::ReadPieces() {
  std::sort(pieces_.begin(), pieces_.end(),
            [](const Placed& a, const Placed& b) {
              return a.range.begin < b.range.begin;
            });
  std::vector<Run> runs;
  for (const Placed& placed : pieces_) {
    if (runs.empty() || placed.range.begin < runs.back().range.end ||
        placed.range.begin - runs.back().range.end > kMaxGap ||
        runs.back().range.end - runs.back().range.begin > kMaxRun) {
      runs.push_back({placed.range, {}});
    }
    runs.back().range.end = placed.range.end;
    runs.back().pieces.push_back(&placed);
  }
  std::function<Task<Result<void>>(std::size_t)> work =
      [this, &runs](std::size_t i) { return ReadRun(&runs[i]); };
  Result<void> done = co_await ForEach(runs.size(), std::move(work));
  co_return done;
}

Task<Result<void>> DataFileReader::ReadRun(const Run* run) {
  // Everything that the transfer may touch, whoever ends first.
  struct Memory {
    std::vector<std::string> gaps;
    std::vector<HostMemory> extents;
    std::vector<std::shared_ptr<Storage>> targets;
  };
  auto memory = std::make_shared<Memory>();
  memory->gaps.reserve(run->pieces.size());
  Destination destination;
  destination.owner = memory;
  std::vector<std::pair<TensorView, TensorView>> copies;
  std::uint64_t at = run->range.begin;
  std::uint64_t wanted = 0;
  for (const Placed* placed : run->pieces) {
    const TensorPiece& piece = placed->piece;
    memory->gaps.emplace_back(placed->range.begin - at, '\0');
    destination.segments.push_back(
        std::as_writable_bytes(std::span(memory->gaps.back())));
    at = placed->range.end;
    wanted +=
        static_cast<std::uint64_t>(piece.to.numel()) * SizeOf(piece.to.dtype);
    memory->targets.push_back(piece.to.storage);
    if (piece.direct) {
      destination.segments.push_back(piece.to.bytes());
      continue;
    }
    const std::uint64_t bytes = placed->range.end - placed->range.begin;
    Result<HostMemory> extent = AllocateHostMemory(bytes);
    CKPTFS_CO_RETURN_IF_ERROR(extent);
    destination.segments.push_back(extent->bytes);
    TensorView from = piece.from;
    from.offset = 0;
    from.storage = std::make_shared<Storage>();
    from.storage->bytes = bytes;
    from.storage->memory = extent->bytes;
    from.storage->owner = extent->owner;
    memory->extents.push_back(*std::move(extent));
    copies.emplace_back(std::move(from), piece.to);
  }
  if (!fetched_.CopyTo(run->range.begin, destination)) {
    Result<void> read =
        co_await file_->Read(run->range.begin, std::move(destination), stop_);
    CKPTFS_CO_RETURN_IF_ERROR(read);
  }
  Future<void> finishing = RunOn<void>(
      runtime_.pool(), [copies = std::move(copies), run]() -> Result<void> {
        for (const auto& [from, to] : copies) CopyElements(from, to);
        for (const Placed* placed : run->pieces) {
          if (placed->crc && Crc32(placed->piece.to.bytes()) != *placed->crc) {
            return Fail(ErrorCode::kDataLoss,
                        placed->fqn + ": the checksum of the item at byte " +
                            std::to_string(placed->range.begin) +
                            " does not match");
          }
        }
        return {};
      });
  Result<void> finished = co_await std::move(finishing);
  if (!finished) co_return Fail(finished.error().WithContext(file_->name()));
  if (got_) got_(wanted);
  co_return finished;
}

}  // namespace ckptfs
