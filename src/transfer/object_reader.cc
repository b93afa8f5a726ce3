#include "transfer/object_reader.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <stop_token>
#include <utility>
#include <vector>

#include "transfer/when_all.h"

namespace ckptfs {
namespace {

// The bytes [offset, offset + length) of `destination`.
Destination Slice(const Destination& destination, std::uint64_t offset,
                  std::uint64_t length) {
  Destination out;
  out.owner = destination.owner;
  for (const auto& segment : destination.segments) {
    if (length == 0) break;
    if (offset >= segment.size()) {
      offset -= segment.size();
      continue;
    }
    const auto n = std::min<std::uint64_t>(segment.size() - offset, length);
    out.segments.push_back(segment.subspan(offset, n));
    offset = 0;
    length -= n;
  }
  return out;
}

Error Stale(const ObjectInfo& pinned, const std::string& why) {
  return Error(ErrorCode::kStale,
               Error::Detail{.message = pinned.key + ": " + why,
                             .http_status = 0,
                             .s3_code = {},
                             .request_id = {},
                             .key = pinned.key});
}

// One ranged GET of exactly destination.size() bytes.
Task<Result<void>> ReadRange(ObjectStore& store, const ObjectInfo& pinned,
                             std::uint64_t offset, Destination destination,
                             RequestOptions options) {
  const std::uint64_t expected = destination.size();
  GetRequest request;
  request.key = pinned.key;
  request.offset = offset;
  request.destination = std::move(destination);
  request.if_match = pinned.etag;
  request.version_id = pinned.version_id;
  request.options = std::move(options);
  Result<GetResult> got = co_await store.Get(std::move(request));
  if (!got) {
    const ErrorCode code = got.error().code();
    if (code == ErrorCode::kPreconditionFailed ||
        code == ErrorCode::kNotFound || code == ErrorCode::kStale) {
      co_return Fail(Stale(pinned, code == ErrorCode::kNotFound
                                       ? "it was removed while it was read"
                                       : "it was replaced while it was read"));
    }
    co_return Fail(got.error().WithContext("read of " + pinned.key));
  }
  // Some stores ignore If-Match without a word.
  if (!pinned.etag.empty() && got->info.etag != pinned.etag) {
    co_return Fail(Stale(pinned, "it was replaced while it was read"));
  }
  if (got->bytes != expected) {
    co_return Fail(ErrorCode::kDataLoss,
                   "read of " + pinned.key + ": " + std::to_string(got->bytes) +
                       " bytes instead of " + std::to_string(expected) +
                       " at " + std::to_string(offset));
  }
  co_return Result<void>();
}

// What the workers of one Read share; touched on the executor alone.
struct Ranges {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  std::uint64_t next = 0;  // first byte, from `offset`, nobody has taken
  Destination destination;
  std::stop_source stop;
  std::chrono::milliseconds deadline{0};
  std::optional<Error> error;  // the first
};

Task<void> ReadRanges(ObjectStore& store, const ObjectInfo& pinned,
                      std::uint64_t range_bytes,
                      std::shared_ptr<Ranges> ranges) {
  while (!ranges->error && ranges->next < ranges->length) {
    const std::uint64_t begin = ranges->next;
    const std::uint64_t length = std::min(range_bytes, ranges->length - begin);
    ranges->next += length;
    Destination part = Slice(ranges->destination, begin, length);
    RequestOptions options;
    options.stop = ranges->stop.get_token();
    options.deadline = ranges->deadline;
    Result<void> read =
        co_await ReadRange(store, pinned, ranges->offset + begin,
                           std::move(part), std::move(options));
    if (!read && !ranges->error) {
      ranges->error = read.error();
      ranges->stop.request_stop();
    }
  }
}

}  // namespace

ObjectReader::ObjectReader(ObjectStore& store, Executor& executor,
                           ObjectInfo pinned, ObjectReaderOptions options)
    : store_(store),
      executor_(executor),
      info_(std::move(pinned)),
      options_(options) {}

Task<Result<std::uint64_t>> ObjectReader::Read(std::uint64_t offset,
                                               Destination destination,
                                               RequestOptions options) const {
  if (offset >= info_.size) co_return std::uint64_t{0};
  const std::uint64_t length =
      std::min(destination.size(), info_.size - offset);
  if (length == 0) co_return std::uint64_t{0};
  const std::uint64_t range_bytes =
      std::max<std::uint64_t>(options_.range_bytes, 1);
  if (length <= range_bytes) {
    Destination part = Slice(destination, 0, length);
    Result<void> read = co_await ReadRange(store_, info_, offset,
                                           std::move(part), std::move(options));
    CKPTFS_CO_RETURN_IF_ERROR(read);
    co_return length;
  }
  auto ranges = std::make_shared<Ranges>();
  ranges->offset = offset;
  ranges->length = length;
  ranges->destination = std::move(destination);
  ranges->deadline = options.deadline;
  // The caller's stop and the first error both end every range.
  const std::stop_callback forward_stop(
      options.stop, [ranges] { ranges->stop.request_stop(); });
  const std::uint64_t count = (length + range_bytes - 1) / range_bytes;
  const auto workers = std::min<std::uint64_t>(
      count,
      static_cast<std::uint64_t>(std::max(1, options_.max_ranges_in_flight)));
  std::vector<Task<void>> tasks;
  for (std::uint64_t i = 0; i < workers; ++i) {
    tasks.push_back(ReadRanges(store_, info_, range_bytes, ranges));
  }
  co_await WhenAll(executor_, std::move(tasks));
  if (ranges->error) co_return Fail(*ranges->error);
  co_return length;
}

}  // namespace ckptfs
