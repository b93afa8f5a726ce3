#include "checkpoint/io/wanted_ranges.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include "transfer/when_all.h"

namespace ckptfs {

namespace {

// Between neighbours that travel together; a request costs more.
constexpr std::uint64_t kMaxGap = 4096;
constexpr std::size_t kRunsInFlight = 16;
// Nothing joins a run that is longer: what has arrived is told run by run.
constexpr std::uint64_t kRunBytes = 64ull << 20;

// Neighbouring wants, [first, last), and the bytes of the file they span.
struct Run {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  std::size_t first = 0;
  std::size_t last = 0;
};

// What the workers of one read share; touched on the executor alone.
struct Shared {
  std::vector<WantedRange> wants;  // by offset
  std::vector<Run> runs;
  std::size_t next = 0;
  std::optional<Error> error;  // the first
  std::stop_source stop;
  std::shared_ptr<void> owner;
  std::function<void(std::uint64_t)> got;
};

struct RunMemory {
  std::shared_ptr<void> wanted;
  std::string gap;  // where all bytes between go
};

Task<void> ReadRun(ByteSource& source, std::shared_ptr<Shared> shared,
                   Run run) {
  const auto memory = std::make_shared<RunMemory>();
  memory->wanted = shared->owner;
  Destination destination;
  destination.owner = memory;
  std::uint64_t at = run.begin;
  std::uint64_t bytes = 0;
  std::uint64_t gaps = 0;
  for (std::size_t i = run.first; i < run.last; ++i) {
    gaps += shared->wants[i].offset - at;
    at = shared->wants[i].offset + shared->wants[i].memory.size();
  }
  memory->gap.resize(gaps);
  std::span<std::byte> gap = std::as_writable_bytes(std::span(memory->gap));
  at = run.begin;
  for (std::size_t i = run.first; i < run.last; ++i) {
    const WantedRange& want = shared->wants[i];
    const std::uint64_t between = want.offset - at;
    if (between > 0) destination.segments.push_back(gap.first(between));
    gap = gap.subspan(between);
    destination.segments.push_back(want.memory);
    bytes += want.memory.size();
    at = want.offset + want.memory.size();
  }
  std::stop_token stop = shared->stop.get_token();
  Result<void> read =
      co_await source.Read(run.begin, std::move(destination), std::move(stop));
  if (read) {
    if (shared->got) shared->got(bytes);
    co_return;
  }
  if (!shared->error) shared->error = read.error();
  shared->stop.request_stop();
}

Task<void> ReadRuns(ByteSource& source, std::shared_ptr<Shared> shared) {
  while (!shared->error && shared->next < shared->runs.size()) {
    const Run run = shared->runs[shared->next++];
    co_await ReadRun(source, shared, run);
  }
}

}  // namespace

Task<Result<void>> ReadWanted(OpenedFile& file, Executor& executor,
                              std::vector<WantedRange> wants,
                              std::shared_ptr<void> owner, std::stop_token stop,
                              std::function<void(std::uint64_t)> got) {
  std::sort(wants.begin(), wants.end(),
            [](const WantedRange& a, const WantedRange& b) {
              return a.offset < b.offset;
            });
  const auto shared = std::make_shared<Shared>();
  shared->owner = std::move(owner);
  shared->got = std::move(got);
  std::uint64_t copied = 0;
  for (WantedRange& want : wants) {
    if (want.offset < file.head().size()) {
      const std::string_view have =
          file.head().substr(want.offset, want.memory.size());
      std::memcpy(want.memory.data(), have.data(), have.size());
      want.offset += have.size();
      want.memory = want.memory.subspan(have.size());
      copied += have.size();
    }
    if (want.memory.empty()) continue;
    std::vector<Run>& runs = shared->runs;
    if (runs.empty() || want.offset - runs.back().end > kMaxGap ||
        runs.back().end - runs.back().begin > kRunBytes) {
      runs.push_back({want.offset, 0, shared->wants.size(), 0});
    }
    shared->wants.push_back(want);
    runs.back().end = want.offset + want.memory.size();
    runs.back().last = shared->wants.size();
  }
  if (copied > 0 && shared->got) shared->got(copied);
  const std::stop_callback forward_stop(
      stop, [shared] { shared->stop.request_stop(); });
  std::vector<Task<void>> workers;
  for (std::size_t i = 0; i < std::min(kRunsInFlight, shared->runs.size());
       ++i) {
    workers.push_back(ReadRuns(file.source(), shared));
  }
  co_await WhenAll(executor, std::move(workers));
  if (shared->error) co_return Fail(*shared->error);
  co_return Result<void>();
}

}  // namespace ckptfs
