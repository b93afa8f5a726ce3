// ObjectSink: an object as a ByteSink; one PUT where it fits into a part, else
// a multipart upload.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/io/byte_sink.h"
#include "transfer/object_writer.h"

namespace ckptfs {

struct ObjectSinkOptions {
  std::uint64_t part_bytes = 16ull << 20;  // raised for very large objects
  int parts_in_flight = 8;
  ObjectAttributes attributes;
};

class ObjectSink final : public ByteSink {
 public:
  // `size`: of the whole object. kTooLarge: more than S3 takes.
  // kInvalidArgument: part_bytes outside of 5 MiB to 5 GiB. Store and executor
  // outlive the sink and what it leaves to be cleaned up (ObjectWriter).
  static Result<std::unique_ptr<ObjectSink>> Create(
      ObjectStore& store, Executor& executor, std::string key, std::string name,
      std::uint64_t size, ObjectSinkOptions options);

  const std::string& name() const override { return name_; }
  void OnArrival(std::function<void(std::uint64_t)> fn) override {
    parts_->on_arrival = std::move(fn);
  }
  std::uint64_t part_bytes() const override { return part_bytes_; }
  Task<Result<void>> Write(Payload part) override;
  Task<Result<void>> Commit(WriteCondition condition) override;
  Task<Result<void>> Abort() override { return writer_.Abort(); }

 private:
  ObjectSink(ObjectStore& store, Executor& executor, std::string key,
             std::string name, std::uint64_t part_bytes, bool whole,
             ObjectSinkOptions options);

  const std::string key_;
  const std::string name_;
  const std::uint64_t part_bytes_;
  const bool whole_;  // one PUT
  const ObjectAttributes attributes_;
  int next_part_ = 1;
  Payload single_;  // with whole_
  // What the parts' callbacks touch; they may come after the sink is gone.
  struct Parts {
    std::function<void(std::uint64_t)> on_arrival;
    std::optional<Error> error;  // the first
    int untold = 0;              // parts whose callback has not run
    std::optional<Promise<void>> all_told;
  };
  Task<void> AllTold();
  const std::shared_ptr<Parts> parts_ = std::make_shared<Parts>();
  ObjectWriter writer_;
};

}  // namespace ckptfs
