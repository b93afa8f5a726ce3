// TorchFileReader: a torch.save file, read where it is: its head and tail
// first, then the storages that are wanted, in parallel ranges, straight into
// their memory.
#pragma once

#include <ckptfs/checkpoint/value.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "checkpoint/io/byte_source.h"
#include "checkpoint/pickle/pickle_reader.h"
#include "checkpoint/zip/zip_directory.h"

namespace ckptfs {

struct TorchFileReadOptions {
  bool weights_only = true;
  std::vector<Global> safe_globals;  // allowed besides, with weights_only
  PickleLimits limits;
  // A data.pkl beyond this is refused: kTooLarge.
  std::uint64_t max_pickle_bytes = 1ull << 30;
};

// On one executor, that of the source. Not thread-safe.
class TorchFileReader {
 public:
  // Finds records and values. Two requests for a file whose pickle lies within
  // the first MiB and whose directory lies within the last 256 KiB; one if the
  // whole file is no longer than 1 MiB. `pool` parses.
  // kInvalidArgument: damaged, hostile, or not such a file, with record and
  // offset. kUnsupported, by name: the format of torch before 1.6, tar files,
  // big-endian files.
  static Task<Result<std::unique_ptr<TorchFileReader>>> Open(
      std::unique_ptr<ByteSource> source, Executor& executor, Executor& pool,
      TorchFileReadOptions options, std::stop_token stop);

  const std::string& name() const { return source_->name(); }
  // Its tensors have storages without memory until Read.
  const Value& value() const { return value_; }

  struct Record {
    std::shared_ptr<Storage> storage;
    ZipEntry entry;
    std::uint64_t end = 0;  // of the room in the file: the next record
  };
  // Every storage that the values name, in the order of the file.
  const std::vector<Record>& records() const { return records_; }
  const std::vector<ZipEntry>& entries() const { return entries_; }

  // The bytes of a storage that are wanted: those, and no others, are fetched.
  struct Want {
    const Record* record = nullptr;
    std::uint64_t begin = 0;  // within the storage
    std::uint64_t end = 0;
    std::span<std::byte> memory;  // end - begin bytes
  };
  // Fills the memory of all, which `wants` must not name twice. Wants that lie
  // close together travel in one range. `memory_owner` keeps every `memory`
  // alive until no thread touches it. Compressed records are fetched whole and
  // inflated on `pool`. `got`, if there is one, is told of bytes that have
  // arrived in the wanted memory.
  Task<Result<void>> Read(std::vector<Want> wants,
                          std::shared_ptr<void> memory_owner, Executor& pool,
                          std::stop_token stop,
                          std::function<void(std::uint64_t)> got = {});

 private:
  TorchFileReader(std::unique_ptr<ByteSource> source, Executor& executor,
                  TorchFileReadOptions options)
      : source_(std::move(source)),
        executor_(executor),
        options_(std::move(options)) {}

  Task<Result<void>> FindRecords(std::stop_token stop);
  Task<Result<void>> CheckByteOrder(std::stop_token stop);
  Task<Result<void>> ParseValues(Executor& pool, std::stop_token stop);
  Result<void> ConnectStorages(
      const std::vector<std::shared_ptr<Storage>>& storages);
  const ZipEntry* Find(const std::string& name) const;
  std::uint64_t RoomEnd(const ZipEntry& entry) const;
  // All bytes of a record, decompressed; for small ones.
  Task<Result<std::string>> ReadWhole(ZipEntry entry, std::stop_token stop);
  // From what is in memory already, or from the source.
  Task<Result<std::string>> Bytes(std::uint64_t offset, std::uint64_t size,
                                  std::stop_token stop);
  // Where the payload of a record begins.
  Task<Result<std::uint64_t>> PayloadOffset(ZipEntry entry,
                                            std::stop_token stop);

  using PayloadOffsets = std::unordered_map<const Record*, std::uint64_t>;
  Task<Result<PayloadOffsets>> InnerPayloads(const std::vector<Want>& wants,
                                             std::stop_token stop);
  Task<void> AskPayloads(const std::vector<const Record*>* records,
                         std::size_t* next, PayloadOffsets* offsets,
                         std::optional<Error>* error, std::stop_token stop);
  Task<Result<void>> ReadDeflated(Want want, std::shared_ptr<void> memory_owner,
                                  Executor& pool, std::stop_token stop);

  std::unique_ptr<ByteSource> source_;
  Executor& executor_;
  TorchFileReadOptions options_;
  std::uint64_t size_ = 0;
  std::string head_;  // the first bytes of the file
  std::string tail_;  // the last ones
  std::uint64_t directory_offset_ = 0;
  std::vector<ZipEntry> entries_;  // by header_offset
  std::string archive_;            // with the slash
  Value value_;
  std::vector<Record> records_;
};

}  // namespace ckptfs
