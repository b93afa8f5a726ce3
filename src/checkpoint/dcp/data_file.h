// DataFile: one `.distcp` file: items back to back, each a complete file of
// torch.save whose archive is called "archive".
#pragma once

#include <ckptfs/checkpoint/dcp/plan.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/io/byte_sink.h"
#include "checkpoint/torch_file/torch_file_writer.h"

namespace ckptfs {

class DataFile {
 public:
  // Lays out the items: values first, then tensors, in the order given. Tensors
  // are stored contiguously; one that is not is copied when its turn comes.
  // Errors name the fqn.
  static Result<DataFile> Plan(std::vector<DcpWriteItem> items,
                               DcpSavePlanner& planner);

  std::uint64_t bytes() const { return bytes_; }
  // Where each item will be, in a file of that path.
  std::vector<DcpWriteResult> Results(const std::string& relative_path) const;

  // Once. Writes all parts; the caller commits.
  Task<Result<void>> WriteTo(ByteSink& sink, Executor& pool,
                             std::stop_token stop);

 private:
  struct Item {
    DcpIndex index;
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
    // Until it is written.
    std::unique_ptr<TorchFileWriter> writer;
    // To be copied first: from, to.
    std::optional<std::pair<TensorView, TensorView>> copy;
  };
  Result<void> Add(const DcpWriteItem& item, DcpSavePlanner& planner);

  std::vector<Item> items_;
  std::uint64_t bytes_ = 0;
};

}  // namespace ckptfs
