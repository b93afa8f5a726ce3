// PartCutter: lets several writers, each with its own idea of where parts end,
// fill one file that is cut into equal parts.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/io/byte_sink.h"

namespace ckptfs {

// Hands on what it is given, uncopied, as parts of exactly part_bytes() and a
// rest. The sink outlives it.
class PartCutter final : public ByteSink {
 public:
  explicit PartCutter(ByteSink& sink) : sink_(sink) {}

  const std::string& name() const override { return sink_.name(); }
  void OnArrival(std::function<void(std::uint64_t)> fn) override {
    sink_.OnArrival(std::move(fn));
  }
  std::uint64_t part_bytes() const override { return sink_.part_bytes(); }
  // Of any size.
  Task<Result<void>> Write(Payload payload) override;
  // Hands on the rest; nothing may be written after it.
  Task<Result<void>> Flush();
  Task<Result<void>> Commit(WriteCondition condition) override;
  Task<Result<void>> Abort() override { return sink_.Abort(); }

 private:
  using Owners = std::vector<std::shared_ptr<const void>>;
  Payload TakePending();

  ByteSink& sink_;
  std::vector<std::span<const std::byte>> pending_;
  std::uint64_t pending_bytes_ = 0;
  Owners owners_;
};

}  // namespace ckptfs
