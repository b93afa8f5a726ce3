// TorchFileWriter: values and tensors as a torch.save file. The layout first,
// then parts straight from tensor memory, each byte read once for its CRC and
// once by the sink.
#pragma once

#include <ckptfs/checkpoint/value.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "checkpoint/io/byte_sink.h"
#include "checkpoint/zip/zip_layout.h"

namespace ckptfs {

// A record whose bytes are there already, its name without the archive.
struct NamedRecord {
  std::string name;
  std::span<const std::byte> bytes;
};

// On one executor, that of the sink. Keeps the storages of `value` alive; their
// bytes must not change until WriteTo has ended.
class TorchFileWriter {
 public:
  // `archive`: see ZipArchiveName. Every storage is written whole and once,
  // whoever views it, as torch.save does. Errors: those of WritePickle;
  // kInvalidArgument for a storage that is not loaded.
  static Result<TorchFileWriter> Plan(const Value& value, std::string archive);

  // Likewise of records that somebody else has pickled, in their order; the two
  // that the container adds, `version` and the serialization id, come behind
  // them. `owner` keeps the bytes alive. kInvalidArgument: as ZipLayout::Add.
  static Result<TorchFileWriter> PlanRecords(std::vector<NamedRecord> records,
                                             std::shared_ptr<const void> owner,
                                             std::string archive,
                                             std::uint64_t alignment = 64);

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
  // A record's bytes: those of a text, or memory that `owner` keeps alive.
  struct Content {
    std::shared_ptr<const void> owner;
    std::span<const std::byte> memory;
    std::string text;
    std::span<const std::byte> bytes() const;
  };
  struct Assembly;

  TorchFileWriter(std::string archive, std::uint64_t alignment);
  Result<void> Add(std::string name, Content content);
  Result<void> AddText(std::string name, std::string text);
  // What the container adds behind all other records.
  Result<void> Finish();
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
