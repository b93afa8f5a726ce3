#include "checkpoint/io/wanted_ranges.h"

#include <algorithm>
#include <utility>

#include "checkpoint/io/scattered_read.h"
#include "checkpoint/io/side_by_side.h"

namespace ckptfs {

namespace {

// Each is cut into ranges by the source.
constexpr std::size_t kRunsInFlight = 16;

// What the runs of one read share.
struct Reading {
  std::vector<WantedRange> wants;  // by offset
  std::shared_ptr<void> owner;
  std::function<void(std::uint64_t)> got;
};

Task<Result<void>> ReadRun(OpenedFile& file, const Reading* reading,
                           RangeRun run, std::stop_token stop) {
  ScatteredRead read(run.begin, reading->owner);
  std::uint64_t bytes = 0;
  for (std::size_t i = run.first; i < run.last; ++i) {
    const WantedRange& want = reading->wants[i];
    read.Add(want.offset, want.memory);
    bytes += want.memory.size();
  }
  Destination destination = read.TakeDestination();
  Result<void> done =
      co_await file.Read(run.begin, std::move(destination), std::move(stop));
  if (done && reading->got) reading->got(bytes);
  co_return done;
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
  Reading reading;
  reading.owner = std::move(owner);
  reading.got = std::move(got);
  RangeRuns runs;
  for (const WantedRange& want : wants) {
    if (want.memory.empty()) continue;
    runs.Add(want.offset, want.offset + want.memory.size());
    reading.wants.push_back(want);
  }
  IndexedWork work = [&](std::size_t i, std::stop_token stopped) {
    return ReadRun(file, &reading, runs.runs()[i], std::move(stopped));
  };
  Result<void> done =
      co_await SideBySide(executor, runs.runs().size(), kRunsInFlight,
                          std::move(stop), std::move(work));
  co_return done;
}

}  // namespace ckptfs
