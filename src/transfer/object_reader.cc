#include "transfer/object_reader.h"

#include <algorithm>
#include <deque>
#include <utility>

namespace ckptfs {

namespace {

// The segments of `from` that hold bytes [begin, begin + size).
Destination Slice(const Destination& from, std::uint64_t begin,
                  std::uint64_t size) {
  Destination out;
  out.owner = from.owner;
  for (const auto& s : from.segments) {
    if (begin >= s.size()) {
      begin -= s.size();
      continue;
    }
    const std::uint64_t n = std::min<std::uint64_t>(s.size() - begin, size);
    if (n == 0) break;
    out.segments.push_back(s.subspan(begin, n));
    begin = 0;
    size -= n;
  }
  return out;
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
  (void)executor_;
  const std::uint64_t end =
      std::min(info_.size, offset + destination.size());
  if (offset >= end) co_return std::uint64_t{0};
  const std::uint64_t total = end - offset;
  std::deque<std::pair<std::uint64_t, Future<GetResult>>> in_flight;
  std::uint64_t next = 0;
  std::uint64_t done = 0;
  std::optional<Error> failed;
  while (done < total) {
    while (!failed && next < total &&
           in_flight.size() <
               static_cast<std::size_t>(options_.max_ranges_in_flight)) {
      const std::uint64_t n = std::min(options_.range_bytes, total - next);
      GetRequest request;
      request.key = info_.key;
      request.offset = offset + next;
      request.destination = Slice(destination, next, n);
      request.if_match = info_.etag;
      request.version_id = info_.version_id;
      request.options = options;
      in_flight.emplace_back(n, store_.Get(std::move(request)));
      next += n;
    }
    if (in_flight.empty()) break;
    auto [expected, future] = std::move(in_flight.front());
    in_flight.pop_front();
    Result<GetResult> got = co_await std::move(future);
    if (!got) {
      if (!failed) failed = got.error();
    } else if (got->bytes != expected && !failed) {
      failed = Error(ErrorCode::kDataLoss,
                     info_.key + ": a range of " + std::to_string(expected) +
                         " bytes came back with " +
                         std::to_string(got->bytes));
    }
    done += expected;
  }
  if (failed) {
    // A pinned version that is gone or is another one now.
    if (failed->code() == ErrorCode::kPreconditionFailed ||
        failed->code() == ErrorCode::kNotFound) {
      co_return Fail(ErrorCode::kStale,
                     info_.key + " was replaced or removed while it was read");
    }
    co_return Fail(*failed);
  }
  co_return total;
}

}  // namespace ckptfs
