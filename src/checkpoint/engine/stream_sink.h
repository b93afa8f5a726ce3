// StreamSink: a new file of unknown size, written in parts: an object in S3 or
// a plain file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "checkpoint/engine/engine_runtime.h"
#include "checkpoint/io/file_sink.h"
#include "checkpoint/io/part_buffers.h"
#include "transfer/object_writer.h"
#include "transfer/part_plan.h"

namespace ckptfs {

// Every Task runs on the runtime's strand, one at a time; Abort may overtake.
class StreamSink {
 public:
  // Errors as Files::Sink. A mounted path is written through the mount.
  static Task<Result<std::shared_ptr<StreamSink>>> Create(
      internal::EngineRuntime& runtime, std::string path);

  const std::string& name() const { return name_; }

  // How many bytes the next part is to have; fewer make it the last. Grows with
  // what was written, so that 5 TiB fit into the parts that S3 allows.
  std::uint64_t NextPartBytes() const;
  // How many of `available` bytes that lie in the caller's memory, where a part
  // begins, are better sent from there than copied: whole parts, and enough of
  // them to be worth waiting for. 0: none.
  std::uint64_t LendableBytes(std::uint64_t available) const;

  // For the next part; on any thread.
  std::shared_ptr<std::string> TakeBuffer() { return buffers_.Take(); }
  // Returns once another part may be filled: EngineOptions::stream_bytes says
  // how many are held in memory, at least this one and the next.
  Task<Result<void>> Write(std::shared_ptr<const std::string> part);
  // Returns when nothing reads the memory any more, with an error too.
  // REQUIRES: a number of bytes that LendableBytes has given.
  Task<Result<void>> WriteLent(std::span<const std::byte> bytes);
  // Publishes the file.
  Task<Result<void>> Commit(WriteCondition condition);
  // Gives it up, and ends what is under way. Safe in any state.
  Task<Result<void>> Abort();

 private:
  StreamSink(internal::EngineRuntime& runtime, std::string name);

  // What the parts' callbacks touch; they may come after the sink is gone.
  struct Parts {
    std::optional<Error> error;         // the first
    std::optional<Promise<void>> room;  // somebody waits for it
  };
  // Of an object; returns once fewer than `max_pending` are under way.
  Task<Result<void>> SendNext(Payload part, int max_pending);
  void Send(int number, Payload part);

  const std::string name_;
  // One of both.
  std::unique_ptr<FileSink> file_;
  std::unique_ptr<ObjectWriter> object_;
  std::string key_;
  const PartPlan plan_;
  const int parts_in_flight_;
  const std::uint64_t stream_bytes_;
  PartBuffers buffers_;
  int next_part_ = 1;
  // The first part, until there is a second: alone it is one PUT.
  std::shared_ptr<const std::string> first_;
  const std::shared_ptr<Parts> parts_ = std::make_shared<Parts>();
};

}  // namespace ckptfs
