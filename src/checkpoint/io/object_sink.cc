#include "checkpoint/io/object_sink.h"

#include <utility>

#include "transfer/part_plan.h"

namespace ckptfs {

Result<std::unique_ptr<ObjectSink>> ObjectSink::Create(
    ObjectStore& store, Executor& executor, std::string key, std::string name,
    std::uint64_t size, ObjectSinkOptions options) {
  CKPTFS_ASSIGN_OR_RETURN(const PartPlan plan,
                          PartPlan::ForSize(size, options.part_bytes));
  const std::uint64_t part_bytes = plan.Size(1);
  return std::unique_ptr<ObjectSink>(
      new ObjectSink(store, executor, std::move(key), std::move(name),
                     part_bytes, size <= part_bytes, std::move(options)));
}

ObjectSink::ObjectSink(ObjectStore& store, Executor& executor, std::string key,
                       std::string name, std::uint64_t part_bytes, bool whole,
                       ObjectSinkOptions options)
    : key_(std::move(key)),
      name_(std::move(name)),
      part_bytes_(part_bytes),
      whole_(whole),
      attributes_(std::move(options.attributes)),
      writer_(
          store, executor,
          ObjectWriterOptions{.max_parts_in_flight = options.parts_in_flight}) {
}

Task<Result<void>> ObjectSink::Write(Payload part) {
  if (whole_) {
    single_ = std::move(part);
    co_return Result<void>();
  }
  if (!writer_.begun()) writer_.Begin(key_, attributes_);
  if (parts_->error) {
    co_return Fail(parts_->error->WithContext("save " + name_));
  }
  // The writer queues what is too much for its window; the bytes are the
  // caller's, so a long queue costs nothing.
  const std::uint64_t bytes = part.size();
  ++parts_->untold;
  writer_.UploadPart(
      next_part_++, std::move(part),
      [parts = parts_, bytes](const Result<CompletedPart>& sent) {
        if (!sent) {
          if (!parts->error) parts->error = sent.error();
        } else if (parts->on_arrival) {
          parts->on_arrival(bytes);
        }
        if (--parts->untold == 0 && parts->all_told) parts->all_told->Set({});
      });
  co_return Result<void>();
}

// The callbacks of parts are posted: the last may come behind the commit.
Task<void> ObjectSink::AllTold() {
  if (parts_->untold == 0) co_return;
  parts_->all_told.emplace();
  Future<void> all_told = parts_->all_told->GetFuture();
  Result<void> told = co_await std::move(all_told);
  (void)told;  // never an error: the last callback sets it
}

Task<Result<void>> ObjectSink::Commit(WriteCondition condition) {
  Result<ObjectInfo> done = Fail(ErrorCode::kInternal, "not committed");
  if (whole_) {
    const std::uint64_t bytes = single_.size();
    done = co_await writer_.PutWhole(key_, std::move(single_), attributes_,
                                     std::move(condition));
    if (done && parts_->on_arrival) parts_->on_arrival(bytes);
  } else {
    done = co_await writer_.Complete(std::move(condition));
    co_await AllTold();
  }
  if (!done) co_return Fail(done.error().WithContext("save " + name_));
  co_return Result<void>();
}

}  // namespace ckptfs
