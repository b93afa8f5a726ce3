// LoadPlan: which bytes of a torch.save file to fetch, and whereto.
#pragma once

#include <ckptfs/checkpoint/options.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "checkpoint/tensors/load_target.h"
#include "checkpoint/torch_file/torch_file_reader.h"

namespace ckptfs {

class LoadPlan {
 public:
  // Gives the storages of the reader's values memory, and connects the tensors
  // that `options.filter` wants with it. Changes the values of `reader`.
  // kResourceExhausted, and what VisitTensors fails with.
  static Result<LoadPlan> OfNew(const TorchFileReader& reader,
                                const LoadOptions& options);

  struct Into {
    std::vector<std::string> missing;
    std::vector<std::string> unexpected;
  };
  // Into the tensors of `into`; those of the reader's values are replaced by
  // them. kInvalidArgument: names, dtypes or shapes that do not match, or
  // tensors of `into` without memory. Nothing is touched yet.
  static Result<LoadPlan> OfExisting(const TorchFileReader& reader,
                                     const Value& into,
                                     const LoadIntoOptions& options,
                                     Into& names);

  const std::vector<TorchFileReader::Want>& wants() const { return wants_; }
  std::uint64_t bytes() const;
  // Keeps all memory that wants() name.
  std::shared_ptr<void> owner() const { return owners_; }

  // After the bytes are there: blocking, for the pool. kDataLoss.
  Result<void> VerifyCrcs() const;
  void CopyRest() const;

 private:
  explicit LoadPlan(const TorchFileReader& reader);

  const TorchFileReader::Record& RecordOf(const Storage& storage) const {
    return *records_.at(&storage);
  }
  void Want(const TorchFileReader::Record& record, std::uint64_t begin,
            std::uint64_t end, std::span<std::byte> memory,
            const std::shared_ptr<void>& owner);
  Result<void> WantWhole(const std::shared_ptr<Storage>& storage);
  Result<void> AddExisting(const TensorView& from, const TensorView& to);

  std::unordered_map<const Storage*, const TorchFileReader::Record*> records_;
  std::vector<TorchFileReader::Want> wants_;
  std::shared_ptr<std::vector<std::shared_ptr<void>>> owners_ =
      std::make_shared<std::vector<std::shared_ptr<void>>>();
  // Elements to copy once everything is there, in this order: into tensors that
  // are not contiguous, or that share bytes of the file.
  std::vector<std::pair<TensorView, TensorView>> copies_;
  // Contiguous bytes of a storage that are on their way to a tensor.
  std::map<std::pair<const Storage*, std::uint64_t>, TensorView> direct_;
  TargetMemory targets_;
};

}  // namespace ckptfs
