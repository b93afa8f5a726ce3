#include "python/dcp_blobs.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "checkpoint/engine/files.h"
#include "checkpoint/io/byte_source.h"
#include "checkpoint/io/scattered_read.h"
#include "checkpoint/io/side_by_side.h"
#include "checkpoint/io/string_destination.h"

namespace ckptfs::python {

namespace {

// What the request that finds a file brings.
constexpr std::size_t kFirstBytes = 4096;
constexpr std::size_t kFilesInFlight = 8;
constexpr std::size_t kRunsInFlight = 16;

using Blobs = std::span<const DcpBlob>;

Task<Result<void>> ReadRun(ByteSource* file, Blobs blobs, RangeRun run,
                           std::shared_ptr<void> owner, std::stop_token stop) {
  ScatteredRead read(run.begin, std::move(owner));
  for (const DcpBlob& blob : blobs.subspan(run.first, run.last - run.first)) {
    read.Add(blob.offset, blob.memory);
  }
  Destination destination = read.TakeDestination();
  Result<void> done =
      co_await file->Read(run.begin, std::move(destination), std::move(stop));
  co_return done;
}

// `blobs` are those of one file, by offset.
Task<Result<void>> ReadFile(internal::EngineRuntime& runtime, Blobs blobs,
                            std::shared_ptr<void> owner, std::stop_token stop) {
  Files files(runtime);
  Result<std::unique_ptr<ByteSource>> source =
      co_await files.Source(blobs.front().path);
  CKPTFS_CO_RETURN_IF_ERROR(source);
  ByteSource* const file = source->get();
  auto first = std::make_shared<std::string>(kFirstBytes, '\0');
  Destination into = IntoString(first);
  Result<std::uint64_t> size = co_await file->Open(std::move(into), stop);
  CKPTFS_CO_RETURN_IF_ERROR(size);
  RangeRuns runs;
  for (const DcpBlob& blob : blobs) {
    if (blob.offset > *size || blob.memory.size() > *size - blob.offset) {
      co_return Fail(ErrorCode::kInvalidArgument,
                     file->name() + " has " + std::to_string(*size) +
                         " bytes, and no item of " +
                         std::to_string(blob.memory.size()) + " at " +
                         std::to_string(blob.offset));
    }
    runs.Add(blob.offset, blob.offset + blob.memory.size());
  }
  IndexedWork work = [&](std::size_t i, std::stop_token stopped) {
    return ReadRun(file, blobs, runs.runs()[i], owner, std::move(stopped));
  };
  Result<void> done =
      co_await SideBySide(runtime.strand(), runs.runs().size(), kRunsInFlight,
                          std::move(stop), std::move(work));
  co_return done;
}

}  // namespace

Task<Result<void>> ReadBlobs(internal::EngineRuntime& runtime,
                             std::vector<DcpBlob> blobs,
                             std::shared_ptr<void> owner,
                             std::stop_token stop) {
  std::stable_sort(
      blobs.begin(), blobs.end(), [](const DcpBlob& a, const DcpBlob& b) {
        return std::tie(a.path, a.offset) < std::tie(b.path, b.offset);
      });
  std::vector<Blobs> files;
  for (std::size_t i = 0, begin = 0; i < blobs.size(); ++i) {
    if (i + 1 < blobs.size() && blobs[i + 1].path == blobs[begin].path) {
      continue;
    }
    files.push_back(Blobs(blobs).subspan(begin, i + 1 - begin));
    begin = i + 1;
  }
  IndexedWork work = [&](std::size_t i, std::stop_token stopped) {
    return ReadFile(runtime, files[i], owner, std::move(stopped));
  };
  Result<void> done =
      co_await SideBySide(runtime.strand(), files.size(), kFilesInFlight,
                          std::move(stop), std::move(work));
  co_return done;
}

}  // namespace ckptfs::python
