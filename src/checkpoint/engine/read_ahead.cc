#include "checkpoint/engine/read_ahead.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "checkpoint/engine/files.h"
#include "checkpoint/io/loan.h"
#include "checkpoint/io/string_destination.h"

namespace ckptfs {

namespace {

// As OpenedFile::kHeadBytes: of a small file all.
constexpr std::uint64_t kEdgeBytes = (1ull << 20) + (64ull << 10);
// A read elsewhere fetches as much; reads that go on at most that far behind
// the last one's end count as in order.
constexpr std::uint64_t kLeastBytes = 1ull << 20;
// One request each, and as much of a read is worth a request of its own.
constexpr std::uint64_t kWindowBytes = 8ull << 20;

// `into` is nobody's any more when it ends.
Task<Result<void>> ReadInto(std::shared_ptr<ByteSource> source,
                            std::uint64_t offset, std::span<std::byte> into,
                            std::stop_token stop) {
  auto loan = std::make_shared<Loan>();
  Future<void> returned = loan->Returned();
  Destination destination;
  destination.segments = {into};
  destination.owner = std::move(loan);
  Result<void> read =
      co_await source->Read(offset, std::move(destination), std::move(stop));
  Result<void> unused = co_await std::move(returned);
  (void)unused;
  co_return read;
}

Task<Result<void>> ReadWindow(std::shared_ptr<ByteSource> source,
                              std::uint64_t offset,
                              std::shared_ptr<std::string> bytes,
                              std::stop_token stop) {
  Destination destination = IntoString(std::move(bytes));
  Result<void> read =
      co_await source->Read(offset, std::move(destination), std::move(stop));
  co_return read;
}

}  // namespace

Task<Result<std::unique_ptr<ReadAhead>>> ReadAhead::Open(
    internal::EngineRuntime& runtime, std::string path, std::stop_token stop) {
  Files files(runtime);
  Result<std::unique_ptr<ByteSource>> opened =
      co_await files.Source(std::move(path));
  CKPTFS_CO_RETURN_IF_ERROR(opened);
  const std::shared_ptr<ByteSource> source = *std::move(opened);
  auto head = std::make_shared<std::string>(kEdgeBytes, '\0');
  Destination first = IntoString(head);
  Result<std::uint64_t> size =
      co_await source->Open(std::move(first), std::move(stop));
  CKPTFS_CO_RETURN_IF_ERROR(size);
  head->resize(std::min<std::uint64_t>(head->size(), *size));
  co_return std::unique_ptr<ReadAhead>(
      new ReadAhead(runtime, source, *size, std::move(head)));
}

ReadAhead::ReadAhead(internal::EngineRuntime& runtime,
                     std::shared_ptr<ByteSource> source, std::uint64_t size,
                     std::shared_ptr<std::string> head)
    : runtime_(runtime),
      source_(std::move(source)),
      size_(size),
      max_reach_(std::max(runtime.options().stream_bytes, kLeastBytes)),
      head_{0, std::move(head), std::nullopt, std::stop_source()} {}

ReadAhead::~ReadAhead() {
  DropAhead([](Future<void> future, const std::stop_source&) {
    return std::move(future).Get();
  });
}

std::size_t ReadAhead::Copy(const Window& window, std::uint64_t at,
                            std::span<std::byte> into) const {
  if (!window.Covers(at)) return 0;
  const std::uint64_t n =
      std::min<std::uint64_t>(into.size(), window.end() - at);
  std::memcpy(into.data(), window.bytes->data() + (at - window.begin), n);
  return n;
}

ReadAhead::Window ReadAhead::Fetch(std::uint64_t begin, std::uint64_t end) {
  Window window;
  window.begin = begin;
  window.bytes = buffers_.Take();
  window.bytes->resize(end - begin);
  window.coming = runtime_.Start<void>(
      ReadWindow(source_, begin, window.bytes, window.stop.get_token()));
  return window;
}

Result<void> ReadAhead::Arrive(Window& window, const Waiter& wait) {
  if (!window.coming) return {};
  return wait(*std::exchange(window.coming, std::nullopt), window.stop);
}

void ReadAhead::DropAhead(const Waiter& wait) {
  for (Window& window : ahead_) window.stop.request_stop();
  for (Window& window : ahead_) (void)Arrive(window, wait);
  ahead_.clear();
}

void ReadAhead::Advance(std::uint64_t at) {
  while (!ahead_.empty() && ahead_.front().end() <= at) {
    const Window& passed = ahead_.front();
    if (passed.coming && !passed.coming->ready()) break;
    ahead_.pop_front();
    reach_ = std::min(2 * reach_, max_reach_);
  }
  const std::uint64_t bytes = std::clamp(reach_ / 2, kLeastBytes, kWindowBytes);
  std::uint64_t begin = ahead_.empty() ? at : ahead_.back().end();
  while (begin < size_ && begin + bytes <= at + reach_) {
    const std::uint64_t end = std::min(begin + bytes, size_);
    ahead_.push_back(Fetch(begin, end));
    begin = end;
  }
}

Result<void> ReadAhead::ReadLarge(std::uint64_t at, std::span<std::byte> into,
                                  const Waiter& wait) {
  std::stop_source stop;
  Future<void> reading =
      runtime_.Start<void>(ReadInto(source_, at, into, stop.get_token()));
  // What follows comes along, where large reads follow each other.
  if (reach_ > 0) Advance(at + into.size());
  return wait(std::move(reading), stop);
}

Result<std::uint64_t> ReadAhead::Read(std::uint64_t offset,
                                      std::span<std::byte> into,
                                      const Waiter& wait) {
  if (offset >= size_) return 0;
  into = into.first(std::min<std::uint64_t>(into.size(), size_ - offset));
  std::size_t done = 0;
  while (done < into.size()) {
    const std::uint64_t at = offset + done;
    const std::span<std::byte> rest = into.subspan(done);
    std::size_t n = Copy(head_, at, rest);
    if (n == 0) n = Copy(tail_, at, rest);
    if (n > 0) {
      done += n;
      continue;
    }
    const auto found =
        std::find_if(ahead_.begin(), ahead_.end(),
                     [at](const Window& window) { return window.Covers(at); });
    if (found != ahead_.end()) {
      const Result<void> there = Arrive(*found, wait);
      if (!there) {
        DropAhead(wait);
        return Fail(there.error());
      }
      n = Copy(*found, at, rest);
      done += n;
      last_end_ = at + n;
      Advance(last_end_);
      continue;
    }
    const bool in_order = at >= last_end_ && at - last_end_ <= kLeastBytes;
    DropAhead(wait);
    reach_ = in_order
                 ? std::min(std::max<std::uint64_t>(
                                {2 * reach_, 2 * kLeastBytes, 2 * rest.size()}),
                            max_reach_)
                 : 0;
    if (rest.size() >= kWindowBytes) {
      const Result<void> read = ReadLarge(at, rest, wait);
      if (!read) {
        DropAhead(wait);
        return Fail(read.error());
      }
      done = into.size();
    } else if (size_ - at <= kEdgeBytes) {
      Window tail = Fetch(size_ - kEdgeBytes, size_);
      const Result<void> there = Arrive(tail, wait);
      if (!there) return Fail(there.error());
      tail_ = std::move(tail);
    } else if (in_order) {
      Advance(at);
    } else {
      const std::uint64_t bytes =
          std::max<std::uint64_t>(rest.size(), kLeastBytes);
      ahead_.push_back(Fetch(at, std::min(at + bytes, size_)));
    }
  }
  last_end_ = offset + done;
  return done;
}

}  // namespace ckptfs
