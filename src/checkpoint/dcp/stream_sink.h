// StreamSink: a new file of unknown size, written in parts: an object in S3 or
// a plain file.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "checkpoint/engine/engine_runtime.h"
#include "checkpoint/io/file_sink.h"
#include "transfer/object_writer.h"
#include "transfer/part_plan.h"

namespace ckptfs {

// Every Task runs on the runtime's strand, one at a time.
class StreamSink {
 public:
  // Errors as Files::Sink.
  static Task<Result<std::shared_ptr<StreamSink>>> Create(
      internal::EngineRuntime& runtime, std::string path);

  // How many bytes the next part is to have; fewer make it the last.
  std::uint64_t NextPartBytes() const;
  // Returns once another part may be taken: few are held in memory.
  Task<Result<void>> Write(std::string part);
  // Publishes the file.
  Task<Result<void>> Commit();
  // Gives it up. Safe in any state.
  Task<Result<void>> Abort();

 private:
  StreamSink(internal::EngineRuntime& runtime, std::string name);

  // What the parts' callbacks touch; they may come after the sink is gone.
  struct Parts {
    std::optional<Error> error;         // the first
    std::optional<Promise<void>> room;  // somebody waits for it
  };
  void Send(int number, std::string part);

  const std::string name_;
  // One of both.
  std::unique_ptr<FileSink> file_;
  std::unique_ptr<ObjectWriter> object_;
  std::string key_;
  const PartPlan plan_;
  const int max_pending_;
  int next_part_ = 1;
  // The first part, until there is a second: alone it is one PUT.
  std::optional<std::string> first_;
  const std::shared_ptr<Parts> parts_ = std::make_shared<Parts>();
};

}  // namespace ckptfs
