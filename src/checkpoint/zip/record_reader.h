// RecordReader: bytes of many records of a zip file, in as few requests as
// sensible, straight into their memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <unordered_map>
#include <vector>

#include "checkpoint/zip/zip_directory.h"
#include "checkpoint/zip/zip_reader.h"

namespace ckptfs {

struct ZipRecord {
  ZipEntry entry;
  std::uint64_t end = 0;  // of the room in the file: the next record
};

// On one executor, that of the file, which outlives it. Not thread-safe.
class RecordReader {
 public:
  RecordReader(ZipReader& zip, Executor& executor)
      : zip_(zip), executor_(executor) {}

  // The bytes of a record that are wanted: those, and no others, are fetched.
  struct Want {
    const ZipRecord* record = nullptr;
    std::uint64_t begin = 0;  // within the record
    std::uint64_t end = 0;
    std::span<std::byte> memory;  // end - begin bytes
  };
  // Fills the memory of all, which `wants` must not name twice. Wants that lie
  // close together travel in one range. `memory_owner` keeps every `memory`
  // alive until no thread touches it. Compressed records are fetched whole and
  // inflated on `pool`. `got`, if there is one, is told of every want whose
  // memory is full.
  Task<Result<void>> Read(std::vector<Want> wants,
                          std::shared_ptr<void> memory_owner, Executor& pool,
                          std::stop_token stop,
                          std::function<void(const Want&)> got);

 private:
  using PayloadOffsets = std::unordered_map<const ZipRecord*, std::uint64_t>;
  Task<Result<PayloadOffsets>> InnerPayloads(const std::vector<Want>& wants,
                                             std::stop_token stop);
  Task<Result<void>> AskPayload(const ZipRecord* record, std::uint64_t* offset,
                                std::stop_token stop);
  Task<Result<void>> ReadDeflated(Want want, std::shared_ptr<void> memory_owner,
                                  Executor& pool, std::stop_token stop);

  ZipReader& zip_;
  Executor& executor_;
};

}  // namespace ckptfs
