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
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/io/byte_source.h"
#include "checkpoint/io/opened_file.h"
#include "checkpoint/pickle/pickle_reader.h"
#include "checkpoint/zip/record_reader.h"
#include "checkpoint/zip/zip_directory.h"
#include "checkpoint/zip/zip_reader.h"

namespace ckptfs {

struct TorchFileReadOptions {
  bool weights_only = true;
  std::vector<Global> safe_globals;  // allowed besides, with weights_only
  PickleLimits limits;
  // A data.pkl beyond this is refused: kTooLarge.
  std::uint64_t max_pickle_bytes = 1ull << 30;
  // Compares the checksum of data.pkl: kDataLoss.
  bool verify_crc = false;
  // Lists the globals of the pickle besides: globals().
  bool scan_globals = false;
  // What is fetched first and last, needed or not. At least 4 KiB. Storages in
  // there are not fetched again.
  std::uint64_t head_bytes = OpenedFile::kHeadBytes;
  std::uint64_t tail_bytes = ZipReader::kTailBytes;
};

// On one executor, that of the source. Not thread-safe.
class TorchFileReader {
 public:
  // Finds records and values. Two requests for a file whose pickle lies within
  // the head and whose directory lies within the tail; one if the whole file is
  // no longer than the head. `pool` parses.
  // kInvalidArgument: damaged, hostile, or not such a file, with record and
  // offset. kUnsupported, by name: the format of torch before 1.6, tar files,
  // big-endian files.
  static Task<Result<std::unique_ptr<TorchFileReader>>> Open(
      std::unique_ptr<ByteSource> source, Executor& executor, Executor& pool,
      TorchFileReadOptions options, std::stop_token stop);
  // Likewise, of a file that is open.
  static Task<Result<std::unique_ptr<TorchFileReader>>> Open(
      OpenedFile file, Executor& executor, Executor& pool,
      TorchFileReadOptions options, std::stop_token stop);

  // kUnsupported, by name: tar files and what torch wrote before 1.6.
  static Result<void> RefuseLegacy(const OpenedFile& file);
  // The first component of every record's name, with the slash (formats:
  // "Archive and records").
  static std::string ArchiveOf(const ZipReader& zip);

  const std::string& name() const { return zip_->name(); }
  // Its tensors have storages without memory until Read.
  const Value& value() const { return value_; }

  struct Record : ZipRecord {
    std::shared_ptr<Storage> storage;
  };
  // Every storage that the values name, in the order of the file.
  const std::vector<Record>& records() const { return records_; }
  const std::vector<ZipEntry>& entries() const { return zip_->entries(); }
  ZipReader& zip() { return *zip_; }
  const std::string& archive() const { return archive_; }
  // Every global that the pickle names (ScanPickleGlobals), if asked for.
  const std::vector<Global>& globals() const { return globals_; }

  using Want = RecordReader::Want;
  // As RecordReader::Read, but that `got` is told of bytes.
  Task<Result<void>> Read(std::vector<Want> wants,
                          std::shared_ptr<void> memory_owner, Executor& pool,
                          std::stop_token stop,
                          std::function<void(std::uint64_t)> got = {});

  // Where the payload of a record begins in the file.
  Task<Result<std::uint64_t>> PayloadOffset(ZipEntry entry,
                                            std::stop_token stop);

 private:
  TorchFileReader(std::unique_ptr<ZipReader> zip, Executor& executor,
                  TorchFileReadOptions options)
      : zip_(std::move(zip)),
        executor_(executor),
        options_(std::move(options)) {}

  Result<void> FindArchive();
  Task<Result<void>> CheckByteOrder(std::stop_token stop);
  Task<Result<void>> ParseValues(Executor& pool, std::stop_token stop);
  Result<void> ConnectStorages(
      const std::vector<std::shared_ptr<Storage>>& storages);

  std::unique_ptr<ZipReader> zip_;
  Executor& executor_;
  TorchFileReadOptions options_;
  std::string archive_;  // with the slash
  std::vector<Global> globals_;
  Value value_;
  std::vector<Record> records_;
};

}  // namespace ckptfs
