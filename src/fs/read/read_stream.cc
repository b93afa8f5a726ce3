#include "fs/read/read_stream.h"

#include <algorithm>
#include <list>
#include <optional>
#include <stop_token>
#include <utility>
#include <vector>

#include "fs/read/block_table.h"
#include "fs/read/stream_detector.h"

namespace ckptfs::fs {
namespace {

// Data bytes of one slab; its last page has room for a FUSE header, which
// reads do not need.
constexpr std::uint64_t kBlockBytes = 1ull << 20;
// Random reads are widened to this grid: small reads come in clusters (zip
// directories, pickles, page faults), and a request costs more than 128 KiB.
constexpr std::uint64_t kRandomGrid = 128ull << 10;
constexpr std::size_t kRandomKept = 4;
// A stream's blocks this far behind its position were skipped, not delayed.
constexpr std::uint64_t kKeptBehind = 4ull << 20;
// Ranges a window is cut into, so that this many are on the wire while it
// grows.
constexpr std::uint64_t kRangesPerWindow = 8;

std::uint64_t RoundDown(std::uint64_t n, std::uint64_t unit) {
  return n / unit * unit;
}
std::uint64_t RoundUp(std::uint64_t n, std::uint64_t unit) {
  return (n + unit - 1) / unit * unit;
}

// Blocks lie on the grid of the file, so that aligned reads, which is what the
// kernel sends, mostly fall into one block.
std::uint64_t GridEnd(std::uint64_t end) { return RoundUp(end, kBlockBytes); }

ObjectReaderOptions OneRange(const ReadStreamOptions& options) {
  ObjectReaderOptions out;
  // The ranges are cut here; the reader must not cut them again.
  out.range_bytes =
      std::max<std::uint64_t>(options.max_range_bytes, 64ull << 20);
  return out;
}

Error Closed(const std::string& key) {
  return Error(ErrorCode::kCancelled, "read of " + key + ": it was closed");
}

}  // namespace

// Shared by the stream and by what still runs when it is gone. Strand only.
struct ReadStream::State {
  State(ObjectStore& store, Executor& s, MemoryBudget& b, SlabPool& p,
        ObjectInfo pinned, ReadStreamOptions o)
      : strand(s),
        budget(b),
        slabs(p),
        options(o),
        reader(store, s, std::move(pinned), OneRange(o)),
        detector(o.max_streams) {}
  using Ptr = std::shared_ptr<State>;

  // A read that waits for the budget; Close answers it before the budget does.
  struct BudgetWait {
    std::optional<Result<Reservation>> granted;
    Promise<void> woken;
    bool over = false;
  };

  Executor& strand;
  MemoryBudget& budget;
  SlabPool& slabs;
  const ReadStreamOptions options;
  const ObjectReader reader;
  StreamDetector detector;
  BlockTable table;
  bool closed = false;
  int ranges_in_flight = 0;  // of streams
  std::stop_source stop;     // of fetches outside the table
  std::list<std::shared_ptr<BudgetWait>> budget_waits;

  std::uint64_t object_size() const { return reader.info().size; }

  std::optional<Reservation> ReserveForLater(std::uint64_t bytes);
  std::uint64_t RangeBytes(const SequentialStream& stream) const;

  static void StartFetch(const Ptr& state, std::shared_ptr<Fetch> fetch,
                         std::uint64_t begin, Destination destination);
  static std::uint64_t FetchRange(const Ptr& state, std::uint64_t stream_id,
                                  std::uint64_t begin, std::uint64_t end,
                                  std::uint64_t least);
  static void Cover(const Ptr& state, const SequentialStream& stream,
                    std::uint64_t begin, std::uint64_t end);
  static void ReadAhead(const Ptr& state, SequentialStream& stream);
  static void Widen(const Ptr& state, Fetch& fetch, std::uint64_t stream_id);
  static bool FetchRandom(const Ptr& state, std::uint64_t begin,
                          std::uint64_t end);
  static Task<Result<Reservation>> AwaitBudget(Ptr state, std::uint64_t bytes);
  static Task<Result<std::shared_ptr<BlockMemory>>> FetchExactly(
      Ptr state, std::uint64_t begin, std::uint64_t end);
  static Task<Result<Payload>> Read(Ptr state, std::uint64_t offset,
                                    std::size_t size);
  void Close();
};

// Memory for bytes nobody has asked for yet. It never takes the upper half of
// the budget: what is held for a reader who may not come back must not stand
// in the way of writers and of reads that were asked for.
std::optional<Reservation> ReadStream::State::ReserveForLater(
    std::uint64_t bytes) {
  const std::uint64_t half = budget.limit() / 2;
  const std::uint64_t used = budget.used();
  if (bytes > half || used > half - bytes) return std::nullopt;
  return budget.TryReserve(bytes);
}

std::uint64_t ReadStream::State::RangeBytes(
    const SequentialStream& stream) const {
  const std::uint64_t low =
      std::max<std::uint64_t>(1, options.first_range_bytes);
  return std::clamp(stream.window / kRangesPerWindow, low,
                    std::max(low, options.max_range_bytes));
}

void ReadStream::State::StartFetch(const Ptr& state,
                                   std::shared_ptr<Fetch> fetch,
                                   std::uint64_t begin,
                                   Destination destination) {
  RequestOptions request;
  request.stop = fetch->stop.get_token();
  if (state->options.clock != nullptr) {
    fetch->sent = state->options.clock->Now();
    fetch->bytes = destination.size();
  }
  if (fetch->stream_id != 0) ++state->ranges_in_flight;
  Spawn<Result<std::uint64_t>>(
      state->strand,
      state->reader.Read(begin, std::move(destination), std::move(request)),
      [state, fetch](Result<std::uint64_t> read) {
        fetch->done = true;
        if (!read) {
          fetch->error = read.error();
          state->table.DropFetch(*fetch);
        }
        fetch->Wake();
        if (fetch->stream_id == 0) return;
        --state->ranges_in_flight;
        SequentialStream* stream = state->detector.Find(fetch->stream_id);
        // A stream that fails goes on when its reader asks again.
        if (read && stream != nullptr && !state->closed) {
          ReadAhead(state, *stream);
        }
      });
}

// One GET for up to [begin, end) into slabs, cut at `end`, at the next block
// and at what the budget has, but not below `least` bytes. Returns how far it
// reaches; `begin` if there was no memory.
std::uint64_t ReadStream::State::FetchRange(const Ptr& state,
                                            std::uint64_t stream_id,
                                            std::uint64_t begin,
                                            std::uint64_t end,
                                            std::uint64_t least) {
  end = std::min({end, state->table.NextBegin(begin), state->object_size()});
  if (begin >= end) return begin;
  least = std::min(least, end - begin);
  std::optional<Reservation> reservation;
  while (true) {
    const std::uint64_t blocks =
        (RoundUp(end, kBlockBytes) - RoundDown(begin, kBlockBytes)) /
        kBlockBytes;
    reservation = state->ReserveForLater(blocks * SlabPool::kSlabBytes);
    if (reservation) break;
    const std::uint64_t shorter =
        RoundDown(begin + (end - begin) / 2, kBlockBytes);
    if (shorter < begin + std::max<std::uint64_t>(least, 1)) return begin;
    end = shorter;
  }
  auto fetch = std::make_shared<Fetch>();
  fetch->stream_id = stream_id;
  auto owners = std::make_shared<std::vector<std::shared_ptr<BlockMemory>>>();
  Destination destination;
  for (std::uint64_t at = begin; at < end;) {
    const std::uint64_t stop =
        std::min(RoundDown(at, kBlockBytes) + kBlockBytes, end);
    Block block;
    block.begin = at;
    block.size = stop - at;
    block.memory = std::make_shared<BlockMemory>();
    block.memory->reservation = reservation->Split(SlabPool::kSlabBytes);
    block.memory->slab = state->slabs.Acquire();
    block.memory->data = block.memory->slab->data();
    block.fetch = fetch;
    destination.segments.emplace_back(block.memory->data, block.size);
    owners->push_back(block.memory);
    state->table.Insert(std::move(block));
    at = stop;
  }
  destination.owner = std::move(owners);
  StartFetch(state, std::move(fetch), begin, std::move(destination));
  return end;
}

// What a sequential reader asks for and nobody has sent for yet.
void ReadStream::State::Cover(const Ptr& state, const SequentialStream& stream,
                              std::uint64_t begin, std::uint64_t end) {
  while (begin < end) {
    if (const Block* block = state->table.Find(begin)) {
      begin = block->end();
      continue;
    }
    const std::uint64_t wanted =
        std::max(state->RangeBytes(stream), end - begin);
    const std::uint64_t reached =
        FetchRange(state, stream.id, begin, GridEnd(begin + wanted),
                   std::min(end - begin, kBlockBytes));
    if (reached == begin) return;  // no memory: Read fetches just the rest
    begin = reached;
  }
}

void ReadStream::State::ReadAhead(const Ptr& state, SequentialStream& stream) {
  std::uint64_t from = std::max(stream.ahead_end, stream.next);
  while (from < state->object_size() &&
         state->ranges_in_flight < state->options.max_ranges_in_flight) {
    if (const Block* block = state->table.Find(from)) {
      from = block->end();
      continue;
    }
    const std::uint64_t range_end = std::min(
        GridEnd(from + state->RangeBytes(stream)), state->object_size());
    if (range_end > stream.next + stream.window ||
        state->table.bytes() + (range_end - from) >
            state->options.max_window_bytes) {
      break;
    }
    const std::uint64_t reached =
        FetchRange(state, stream.id, from, range_end, 0);
    if (reached == from) break;  // no memory: does without
    from = reached;
  }
  stream.ahead_end = std::max(stream.ahead_end, from);
}

// Doubles the window of a stream whose reader waits for a slow range.
void ReadStream::State::Widen(const Ptr& state, Fetch& fetch,
                              std::uint64_t stream_id) {
  SequentialStream* stream = state->detector.Find(stream_id);
  if (stream == nullptr || fetch.caught_up || fetch.stream_id != stream_id) {
    return;
  }
  if (state->options.clock != nullptr) {
    const std::chrono::duration<double> age =
        state->options.clock->Now() - fetch.sent;
    const double at_slow_rate =
        static_cast<double>(fetch.bytes) /
        static_cast<double>(state->options.slow_bytes_per_second);
    if (age.count() < at_slow_rate) return;
  }
  fetch.caught_up = true;
  stream->window =
      std::min(2 * stream->window, state->options.max_window_bytes);
  ReadAhead(state, *stream);
}

// A random read, widened where memory allows. False: no memory at once.
bool ReadStream::State::FetchRandom(const Ptr& state, std::uint64_t begin,
                                    std::uint64_t end) {
  const std::uint64_t wide_begin =
      std::max(RoundDown(begin, kRandomGrid), state->table.PreviousEnd(begin));
  const std::uint64_t wide_end =
      std::min({RoundUp(end, kRandomGrid), state->table.NextBegin(begin),
                state->object_size()});
  std::optional<Reservation> reservation =
      state->ReserveForLater(wide_end - wide_begin);
  if (reservation) {
    begin = wide_begin;
    end = wide_end;
  } else {
    reservation = state->budget.TryReserve(end - begin);
    if (!reservation) return false;
  }
  auto fetch = std::make_shared<Fetch>();
  Block block;
  block.begin = begin;
  block.size = end - begin;
  block.memory = std::make_shared<BlockMemory>();
  block.memory->reservation = *std::move(reservation);
  block.memory->bytes = std::make_unique_for_overwrite<std::byte[]>(block.size);
  block.memory->data = block.memory->bytes.get();
  block.fetch = fetch;
  Destination destination;
  destination.segments.emplace_back(block.memory->data, block.size);
  destination.owner = block.memory;
  state->table.Insert(std::move(block));
  StartFetch(state, std::move(fetch), begin, std::move(destination));
  return true;
}

Task<Result<Reservation>> ReadStream::State::AwaitBudget(Ptr state,
                                                         std::uint64_t bytes) {
  auto wait = std::make_shared<BudgetWait>();
  Future<void> woken = wait->woken.GetFuture();
  state->budget_waits.push_back(wait);
  Future<Reservation> turn = state->budget.Reserve(bytes);
  std::move(turn).Then(state->strand, [wait](Result<Reservation> granted) {
    // Too late after Close: the reservation goes back at once.
    if (std::exchange(wait->over, true)) return;
    wait->granted.emplace(std::move(granted));
    wait->woken.Set({});
  });
  Result<void> r = co_await std::move(woken);
  (void)r;
  state->budget_waits.remove(wait);
  if (!wait->granted) co_return Fail(Closed(state->reader.info().key));
  Result<Reservation> granted = *std::move(wait->granted);
  co_return granted;
}

// With the budget used up: exactly the bytes asked for, in turn.
Task<Result<std::shared_ptr<BlockMemory>>> ReadStream::State::FetchExactly(
    Ptr state, std::uint64_t begin, std::uint64_t end) {
  Result<Reservation> reservation = co_await AwaitBudget(state, end - begin);
  CKPTFS_CO_RETURN_IF_ERROR(reservation);
  auto memory = std::make_shared<BlockMemory>();
  memory->reservation = *std::move(reservation);
  memory->bytes = std::make_unique_for_overwrite<std::byte[]>(end - begin);
  memory->data = memory->bytes.get();
  Destination destination;
  destination.segments.emplace_back(memory->data, end - begin);
  destination.owner = memory;
  RequestOptions request;
  request.stop = state->stop.get_token();
  Result<std::uint64_t> read = co_await state->reader.Read(
      begin, std::move(destination), std::move(request));
  CKPTFS_CO_RETURN_IF_ERROR(read);
  co_return memory;
}

Task<Result<Payload>> ReadStream::State::Read(Ptr state, std::uint64_t offset,
                                              std::size_t size) {
  const std::string& key = state->reader.info().key;
  if (state->closed) co_return Fail(Closed(key));
  if (offset >= state->object_size() || size == 0) co_return Payload{};
  const std::uint64_t end =
      offset + std::min<std::uint64_t>(size, state->object_size() - offset);

  const StreamDetector::Access access =
      state->detector.Note(offset, end - offset);
  if (access.evicted_id != 0) state->table.DropStream(access.evicted_id);
  std::uint64_t stream_id = 0;
  if (access.stream != nullptr) {
    SequentialStream& stream = *access.stream;
    stream_id = stream.id;
    if (access.started) {
      stream.window = std::min(
          state->options.max_window_bytes,
          state->options.first_window_ranges *
              std::max<std::uint64_t>(1, state->options.first_range_bytes));
    }
    if (stream.next > kKeptBehind) {
      state->table.DropBehind(stream.id, stream.next - kKeptBehind);
    }
    // A late one of several that changed places lies behind `next`: what is
    // missing there is fetched alone.
    if (end >= stream.next) Cover(state, stream, offset, end);
    ReadAhead(state, stream);
  }

  Payload out;
  auto owners = std::make_shared<std::vector<std::shared_ptr<BlockMemory>>>();
  const auto hand_out = [&](std::shared_ptr<BlockMemory> memory,
                            std::uint64_t from, std::uint64_t length) {
    out.segments.emplace_back(memory->data + from, length);
    owners->push_back(std::move(memory));
  };
  std::uint64_t at = offset;
  while (at < end) {
    Block* block = state->table.Find(at);
    if (block == nullptr) {
      const std::uint64_t stop = std::min(end, state->table.NextBegin(at));
      if (FetchRandom(state, at, stop)) continue;
      Result<std::shared_ptr<BlockMemory>> memory =
          co_await FetchExactly(state, at, stop);
      if (state->closed) co_return Fail(Closed(key));
      CKPTFS_CO_RETURN_IF_ERROR(memory);
      hand_out(*std::move(memory), 0, stop - at);
      at = stop;
      continue;
    }
    const std::shared_ptr<Fetch> fetch = block->fetch;
    if (!fetch->done) {
      // The reader is faster than the window: widen it, once per range.
      if (!access.started) Widen(state, *fetch, stream_id);
      // ReadAhead may have ended the fetch, where the store answers at once.
      if (!fetch->done) {
        Future<void> ended = fetch->Wait();
        Result<void> r = co_await std::move(ended);
        (void)r;
        if (!state->closed) Widen(state, *fetch, stream_id);
      }
      if (state->closed) co_return Fail(Closed(key));
    }
    if (fetch->error) {
      // Given up because its stream had to go, not because it failed.
      if (fetch->stop.stop_requested() &&
          fetch->error->code() == ErrorCode::kCancelled) {
        continue;
      }
      co_return Fail(*fetch->error);
    }
    block = state->table.Find(at);
    if (block == nullptr || block->fetch != fetch) continue;
    const std::uint64_t stop = std::min(end, block->end());
    hand_out(block->memory, at - block->begin, stop - at);
    state->table.MarkHanded(at, stop);
    at = stop;
  }
  state->table.TrimRandom(kRandomKept);
  out.owner = std::move(owners);
  co_return out;
}

void ReadStream::State::Close() {
  closed = true;
  stop.request_stop();
  table.Clear();
  for (const std::shared_ptr<BudgetWait>& wait : budget_waits) {
    if (!std::exchange(wait->over, true)) wait->woken.Set({});
  }
}

ReadStream::ReadStream(ObjectStore& store, Executor& strand,
                       MemoryBudget& budget, SlabPool& slabs, ObjectInfo pinned,
                       ReadStreamOptions options)
    : state_(std::make_shared<State>(store, strand, budget, slabs,
                                     std::move(pinned), options)) {}

ReadStream::~ReadStream() { state_->Close(); }

Task<Result<Payload>> ReadStream::Read(std::uint64_t offset, std::size_t size) {
  return State::Read(state_, offset, size);
}

}  // namespace ckptfs::fs
