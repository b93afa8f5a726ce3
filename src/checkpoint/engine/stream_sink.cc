#include "checkpoint/engine/stream_sink.h"

#include <algorithm>

#include "checkpoint/engine/location.h"
#include "checkpoint/io/loan.h"

namespace ckptfs {

namespace {

Payload PayloadOf(std::shared_ptr<const std::string> part) {
  Payload payload;
  payload.segments.push_back(std::as_bytes(std::span(*part)));
  payload.owner = std::move(part);
  return payload;
}

}  // namespace

StreamSink::StreamSink(internal::EngineRuntime& runtime, std::string name)
    : name_(std::move(name)),
      plan_(PartPlan::Ladder(std::clamp(runtime.options().part_bytes,
                                        kMinPartBytes, kMaxPartBytes),
                             kMaxPartBytes)),
      parts_in_flight_(std::max(runtime.options().parts_in_flight, 1)),
      stream_bytes_(runtime.options().stream_bytes) {}

Task<Result<std::shared_ptr<StreamSink>>> StreamSink::Create(
    internal::EngineRuntime& runtime, std::string path) {
  Result<Location> at = ParseFileLocation(path);
  CKPTFS_CO_RETURN_IF_ERROR(at);
  std::shared_ptr<StreamSink> sink(new StreamSink(runtime, at->name));
  // A mounted path goes through the mount, which gathers the parts.
  if (at->kind == Location::Kind::kFile) {
    Result<std::unique_ptr<FileSink>> file =
        co_await FileSink::Create(at->path, 0, runtime.pool());
    CKPTFS_CO_RETURN_IF_ERROR(file);
    sink->file_ = *std::move(file);
    co_return std::move(sink);
  }
  Result<ObjectStore*> store = runtime.StoreOf(at->bucket, at->endpoint_url);
  CKPTFS_CO_RETURN_IF_ERROR(store);
  ObjectWriterOptions options;
  options.max_parts_in_flight = sink->parts_in_flight_;
  sink->object_ =
      std::make_unique<ObjectWriter>(**store, runtime.strand(), options);
  sink->key_ = at->key;
  co_return std::move(sink);
}

std::uint64_t StreamSink::NextPartBytes() const {
  return plan_.Size(std::min(next_part_, kMaxParts));
}

std::uint64_t StreamSink::LendableBytes(std::uint64_t available) const {
  // Parts that are waited for leave connections idle in the end: only what
  // keeps all of them busy for once is worth more than the copy.
  const std::uint64_t least =
      file_ != nullptr
          ? 1
          : static_cast<std::uint64_t>(std::max(parts_in_flight_, 2));
  int part = next_part_;
  std::uint64_t parts = 0;
  std::uint64_t bytes = 0;
  while (true) {
    const std::uint64_t next = plan_.Size(std::min(part, kMaxParts));
    if (next > available - bytes) break;
    bytes += next;
    ++parts;
    if (file_ == nullptr) ++part;
  }
  return parts >= least ? bytes : 0;
}

void StreamSink::Send(int number, Payload part) {
  object_->UploadPart(number, std::move(part),
                      [parts = parts_](Result<CompletedPart> sent) {
                        if (!sent && !parts->error) parts->error = sent.error();
                        if (parts->room) {
                          Promise<void> room = *std::move(parts->room);
                          parts->room.reset();
                          room.Set({});
                        }
                      });
}

Task<Result<void>> StreamSink::SendNext(Payload part, int max_pending) {
  if (next_part_ > kMaxParts) {
    co_return Fail(ErrorCode::kTooLarge,
                   name_ + ": longer than the " +
                       std::to_string(plan_.MaxBytes()) +
                       " bytes that a stream of unknown size can have");
  }
  if (!object_->begun()) object_->Begin(key_, ObjectAttributes());
  if (first_ != nullptr) Send(1, PayloadOf(std::exchange(first_, nullptr)));
  Send(next_part_++, std::move(part));
  while (!parts_->error && object_->parts_pending() >= max_pending) {
    parts_->room.emplace();
    Future<void> room = parts_->room->GetFuture();
    Result<void> there = co_await std::move(room);
    CKPTFS_CO_RETURN_IF_ERROR(there);
  }
  if (parts_->error) {
    co_return Fail(parts_->error->WithContext("save " + name_));
  }
  co_return Result<void>();
}

Task<Result<void>> StreamSink::Write(std::shared_ptr<const std::string> part) {
  if (file_ != nullptr) {
    Payload payload = PayloadOf(std::move(part));
    Result<void> wrote = co_await file_->Write(std::move(payload));
    co_return wrote;
  }
  if (next_part_ == 1) {
    ++next_part_;
    first_ = std::move(part);
    co_return Result<void>();
  }
  // One of these is not under way yet: it is filled meanwhile.
  const std::uint64_t parts =
      stream_bytes_ / std::max<std::uint64_t>(part->size(), kMinPartBytes);
  const int held =
      static_cast<int>(std::clamp<std::uint64_t>(parts, 2, kMaxParts));
  Payload payload = PayloadOf(std::move(part));
  Result<void> sent =
      co_await SendNext(std::move(payload), std::min(held, parts_in_flight_));
  co_return sent;
}

Task<Result<void>> StreamSink::WriteLent(std::span<const std::byte> bytes) {
  auto loan = std::make_shared<Loan>();
  Future<void> returned = loan->Returned();
  Result<void> wrote;
  while (wrote && !bytes.empty()) {
    const std::uint64_t n =
        std::min<std::uint64_t>(NextPartBytes(), bytes.size());
    Payload payload;
    payload.segments.push_back(bytes.first(n));
    payload.owner = loan;
    bytes = bytes.subspan(n);
    if (file_ != nullptr) {
      wrote = co_await file_->Write(std::move(payload));
    } else {
      wrote = co_await SendNext(std::move(payload), parts_in_flight_);
    }
  }
  loan.reset();
  Result<void> unused = co_await std::move(returned);
  (void)unused;
  co_return wrote;
}

Task<Result<void>> StreamSink::Commit(WriteCondition condition) {
  if (file_ != nullptr) {
    Result<void> committed = co_await file_->Commit(std::move(condition));
    co_return committed;
  }
  Result<ObjectInfo> info = ObjectInfo();
  if (object_->begun()) {
    info = co_await object_->Complete(std::move(condition));
  } else {
    ObjectAttributes attributes;
    if (first_ == nullptr) first_ = std::make_shared<const std::string>();
    Payload payload = PayloadOf(std::exchange(first_, nullptr));
    info = co_await object_->PutWhole(
        key_, std::move(payload), std::move(attributes), std::move(condition));
  }
  if (!info) co_return Fail(info.error().WithContext("save " + name_));
  co_return Result<void>();
}

Task<Result<void>> StreamSink::Abort() {
  if (file_ != nullptr) {
    Result<void> aborted = co_await file_->Abort();
    co_return aborted;
  }
  Result<void> aborted = co_await object_->Abort();
  co_return aborted;
}

}  // namespace ckptfs
