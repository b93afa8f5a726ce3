// ReadWanted: stretches of a file into memory, in as few requests as sensible.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <vector>

#include "checkpoint/io/opened_file.h"

namespace ckptfs {

struct WantedRange {
  std::uint64_t offset = 0;
  std::span<std::byte> memory;  // as many bytes
};

// Fills the memory of all. What is in the head of `file` is copied from there;
// neighbours travel in one range, what lies between them is thrown away; ranges
// run side by side. `owner` keeps every memory alive until no thread touches
// it. `got`, if there is one, is told of wanted bytes that have arrived.
// REQUIRES: the ranges lie inside the file and do not overlap. Runs on
// `executor`, that of the file, which must live until the end. Errors: those of
// ByteSource::Read.
Task<Result<void>> ReadWanted(OpenedFile& file, Executor& executor,
                              std::vector<WantedRange> wants,
                              std::shared_ptr<void> owner, std::stop_token stop,
                              std::function<void(std::uint64_t)> got);

}  // namespace ckptfs
