// TorchFileWriter: values and tensors as a torch.save file. The layout first,
// then parts straight from tensor memory, each byte read once for its CRC and
// once by the sink.
#pragma once

#include <ckptfs/checkpoint/value.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "checkpoint/io/byte_sink.h"
#include "checkpoint/zip/zip_layout.h"

namespace ckptfs {

// On one executor, that of the sink. Keeps the storages of `value` alive; their
// bytes must not change until WriteTo has ended.
class TorchFileWriter {
 public:
  // `archive`: see ZipArchiveName. Every storage is written whole and once,
  // whoever views it, as torch.save does. Errors: those of WritePickle;
  // kInvalidArgument for a storage that is not loaded.
  static Result<TorchFileWriter> Plan(const Value& value, std::string archive);

  std::uint64_t file_bytes() const {
    return layout_->tail_offset() + layout_->tail_bytes();
  }

  // Writes all parts; the caller commits. `pool` computes CRCs, several parts
  // ahead of the sink. kCancelled: `stop` was asked between two parts.
  Task<Result<void>> WriteTo(ByteSink& sink, Executor& pool,
                             std::stop_token stop = {});

 private:
  // A stretch of the file.
  struct Piece {
    enum class Kind { kHeader, kPayload, kDescriptor, kTail };
    Kind kind;
    std::size_t record;
    std::uint64_t offset;
    std::uint64_t bytes;
  };
  // A record's bytes: a storage's or a text's.
  struct Content {
    std::shared_ptr<const Storage> storage;
    std::string text;
    std::span<const std::byte> bytes() const;
  };
  struct Assembly;

  TorchFileWriter() = default;
  Result<void> Add(std::string name, Content content);
  void CutIntoPieces();
  static std::vector<std::uint32_t> CrcsOf(const TorchFileWriter& writer,
                                           std::uint64_t begin,
                                           std::uint64_t end);
  Payload Assemble(std::uint64_t begin, std::uint64_t end,
                   const std::vector<std::uint32_t>& crcs, Assembly& assembly);
  std::size_t FirstPieceAt(std::uint64_t offset) const;

  std::shared_ptr<ZipLayout> layout_;
  std::shared_ptr<std::vector<Content>> contents_;  // by record
  std::vector<std::string> names_;                  // without the archive
  std::vector<Piece> pieces_;                       // by offset, without gaps
};

}  // namespace ckptfs
