#include "checkpoint/dcp/stream_sink.h"

#include <algorithm>

#include "checkpoint/engine/location.h"

namespace ckptfs {

namespace {

// 492 GiB in 10,000 parts (PartPlan::Ladder) from parts of 8 MiB.
constexpr std::uint64_t kFirstPartBytes = 8ull << 20;
constexpr std::uint64_t kLastPartBytes = 64ull << 20;

Payload PayloadOf(std::string part) {
  auto owner = std::make_shared<const std::string>(std::move(part));
  Payload payload;
  payload.segments.push_back(std::as_bytes(std::span(*owner)));
  payload.owner = std::move(owner);
  return payload;
}

}  // namespace

StreamSink::StreamSink(internal::EngineRuntime& runtime, std::string name)
    : name_(std::move(name)),
      plan_(PartPlan::Ladder(kFirstPartBytes, kLastPartBytes)),
      max_pending_(std::max(runtime.options().parts_in_flight, 1)) {}

Task<Result<std::shared_ptr<StreamSink>>> StreamSink::Create(
    internal::EngineRuntime& runtime, std::string path) {
  Result<Location> at = ParseLocation(path);
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
  options.max_parts_in_flight = sink->max_pending_;
  sink->object_ =
      std::make_unique<ObjectWriter>(**store, runtime.strand(), options);
  sink->key_ = at->key;
  co_return std::move(sink);
}

std::uint64_t StreamSink::NextPartBytes() const {
  return plan_.Size(std::min(next_part_, kMaxParts));
}

void StreamSink::Send(int number, std::string part) {
  object_->UploadPart(number, PayloadOf(std::move(part)),
                      [parts = parts_](Result<CompletedPart> sent) {
                        if (!sent && !parts->error) parts->error = sent.error();
                        if (parts->room) {
                          Promise<void> room = *std::move(parts->room);
                          parts->room.reset();
                          room.Set({});
                        }
                      });
}

Task<Result<void>> StreamSink::Write(std::string part) {
  if (file_ != nullptr) {
    Payload payload = PayloadOf(std::move(part));
    Result<void> wrote = co_await file_->Write(std::move(payload));
    co_return wrote;
  }
  if (next_part_ > kMaxParts) {
    co_return Fail(ErrorCode::kTooLarge,
                   name_ + ": longer than the " +
                       std::to_string(plan_.MaxBytes()) +
                       " bytes that a stream of unknown size can have");
  }
  const int number = next_part_++;
  if (number == 1) {
    first_ = std::move(part);
    co_return Result<void>();
  }
  if (first_) {
    object_->Begin(key_, ObjectAttributes());
    Send(1, *std::exchange(first_, std::nullopt));
  }
  Send(number, std::move(part));
  while (!parts_->error && object_->parts_pending() >= max_pending_) {
    parts_->room.emplace();
    Future<void> room = parts_->room->GetFuture();
    Result<void> there = co_await std::move(room);
    CKPTFS_CO_RETURN_IF_ERROR(there);
  }
  if (parts_->error) co_return Fail(parts_->error->WithContext(name_));
  co_return Result<void>();
}

Task<Result<void>> StreamSink::Commit() {
  WriteCondition condition;
  if (file_ != nullptr) {
    Result<void> committed = co_await file_->Commit(std::move(condition));
    co_return committed;
  }
  Result<ObjectInfo> info = ObjectInfo();
  if (next_part_ > 1 && !first_) {
    info = co_await object_->Complete(std::move(condition));
  } else {
    ObjectAttributes attributes;
    Payload payload = PayloadOf(first_ ? *std::move(first_) : std::string());
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
