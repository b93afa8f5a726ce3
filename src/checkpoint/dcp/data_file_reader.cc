#include "checkpoint/dcp/data_file_reader.h"

#include <algorithm>
#include <span>
#include <utility>

#include "checkpoint/io/run_on.h"
#include "checkpoint/io/scattered_read.h"
#include "checkpoint/io/string_destination.h"
#include "checkpoint/tensors/host_memory.h"
#include "checkpoint/tensors/tensor_copy.h"
#include "checkpoint/torch_file/load_plan.h"
#include "checkpoint/torch_file/torch_pickle.h"
#include "checkpoint/zip/crc32.h"

namespace ckptfs {

namespace {

// Holds the pickle and the headers of a tensor's item, whose archive is called
// "archive" (1.2 KiB), and its directory (1 KiB).
constexpr std::uint64_t kEndBytes = 4096;
// Items of this size are fetched whole at once.
constexpr std::uint64_t kSmallItem = 64ull << 10;
// Heads and tails that lie no further apart travel together, up to this size.
constexpr std::uint64_t kMaxGap = 8192;
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
    IndexedWork work = [this, &firsts](std::size_t i, std::stop_token stopped) {
      return ReadItem(firsts[i], firsts[i + 1], std::move(stopped));
    };
    done = co_await ForEach(firsts.size() - 1, std::move(work));
  }
  if (done) done = co_await ReadPieces();
  co_return done;
}

Task<Result<void>> DataFileReader::ForEach(std::size_t n, IndexedWork work) {
  return SideBySide(runtime_.strand(), n, kInFlight, stop_, std::move(work));
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
  IndexedWork work = [this, &ranges](std::size_t i, std::stop_token stopped) {
    return FetchRange(ranges[i], std::move(stopped));
  };
  Result<void> done = co_await ForEach(ranges.size(), std::move(work));
  co_return done;
}

Task<Result<void>> DataFileReader::FetchRange(Range range,
                                              std::stop_token stop) {
  auto buffer = std::make_shared<std::string>(range.end - range.begin, '\0');
  Destination into = IntoString(buffer);
  if (!fetched_.CopyTo(range.begin, into)) {
    Result<void> read =
        co_await file_->Read(range.begin, std::move(into), stop);
    CKPTFS_CO_RETURN_IF_ERROR(read);
  }
  fetched_.Add(range.begin, std::move(buffer));
  co_return Result<void>();
}

Task<Result<void>> DataFileReader::ReadItem(std::size_t first, std::size_t end,
                                            std::stop_token stop) {
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
                                     runtime_.pool(), std::move(options), stop);
  CKPTFS_CO_RETURN_IF_ERROR(opened);
  const std::shared_ptr<TorchFileReader> reader = *std::move(opened);
  Result<void> done;
  if (want.item.type == DcpReadItem::Type::kTensor) {
    done = co_await PlacePieces(*reader, first, end, stop);
  } else {
    for (std::size_t i = first; done && i < end; ++i) {
      done = co_await ReadValue(reader, i, stop);
    }
  }
  if (!done) co_return Fail(done.error().WithContext(reader->name()));
  co_return done;
}

Task<Result<void>> DataFileReader::PlacePieces(TorchFileReader& reader,
                                               std::size_t first,
                                               std::size_t end,
                                               std::stop_token stop) {
  const Want& want = wants_[first];
  const TensorView* stored = TensorIn(reader.value());
  // _rebuild_tensor_v2 with metadata (TorchPickle).
  const Object* object = reader.value().AsObject();
  if (object != nullptr &&
      object->callable.name.starts_with("_rebuild_tensor_v")) {
    co_return Fail(ErrorCode::kUnsupported,
                   "a tensor that is lazily conjugated or negated, which is "
                   "not read here; resolve it before it is saved");
  }
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
      co_await reader.zip().PayloadOffset(entry, stop);
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
    std::shared_ptr<TorchFileReader> reader, std::size_t want,
    std::stop_token stop) {
  // What a filter lets pass is wanted whole.
  LoadOptions options = options_;
  options.filter = nullptr;
  Result<LoadPlan> planned = LoadPlan::OfNew(*reader, options);
  CKPTFS_CO_RETURN_IF_ERROR(planned);
  const auto plan = std::make_shared<const LoadPlan>(*std::move(planned));
  std::vector<TorchFileReader::Want> wants = plan->wants();
  Result<void> read = co_await reader->Read(std::move(wants), plan->owner(),
                                            runtime_.pool(), stop);
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
  RangeRuns runs;
  for (const Placed& placed : pieces_) {
    runs.Add(placed.range.begin, placed.range.end);
  }
  IndexedWork work = [this, &runs](std::size_t i, std::stop_token stopped) {
    return ReadRun(runs.runs()[i], std::move(stopped));
  };
  Result<void> done = co_await ForEach(runs.runs().size(), std::move(work));
  co_return done;
}

Task<Result<void>> DataFileReader::ReadRun(RangeRun run, std::stop_token stop) {
  // Everything that the transfer may touch, whoever ends first.
  struct Memory {
    std::vector<HostMemory> extents;
    std::vector<std::shared_ptr<Storage>> targets;
  };
  auto memory = std::make_shared<Memory>();
  ScatteredRead read(run.begin, memory);
  std::vector<std::pair<TensorView, TensorView>> copies;
  std::uint64_t wanted = 0;
  const auto pieces =
      std::span<const Placed>(pieces_).subspan(run.first, run.last - run.first);
  for (const Placed& placed : pieces) {
    const TensorPiece& piece = placed.piece;
    wanted +=
        static_cast<std::uint64_t>(piece.to.numel()) * SizeOf(piece.to.dtype);
    memory->targets.push_back(piece.to.storage);
    if (piece.direct) {
      read.Add(placed.range.begin, piece.to.bytes());
      continue;
    }
    const std::uint64_t bytes = placed.range.end - placed.range.begin;
    Result<HostMemory> extent = AllocateHostMemory(bytes);
    CKPTFS_CO_RETURN_IF_ERROR(extent);
    read.Add(placed.range.begin, extent->bytes);
    TensorView from = piece.from;
    from.offset = 0;
    from.storage = std::make_shared<Storage>();
    from.storage->bytes = bytes;
    from.storage->memory = extent->bytes;
    from.storage->owner = extent->owner;
    memory->extents.push_back(*std::move(extent));
    copies.emplace_back(std::move(from), piece.to);
  }
  Destination destination = read.TakeDestination();
  if (!fetched_.CopyTo(run.begin, destination)) {
    Result<void> done = co_await file_->Read(run.begin, std::move(destination),
                                             std::move(stop));
    CKPTFS_CO_RETURN_IF_ERROR(done);
  }
  Future<void> finishing = RunOn<void>(
      runtime_.pool(), [copies = std::move(copies), pieces]() -> Result<void> {
        for (const auto& [from, to] : copies) CopyElements(from, to);
        for (const Placed& placed : pieces) {
          if (placed.crc && Crc32(placed.piece.to.bytes()) != *placed.crc) {
            return Fail(ErrorCode::kDataLoss,
                        placed.fqn + ": the checksum of the item at byte " +
                            std::to_string(placed.range.begin) +
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
