// SafetensorsWriter: tensors as a safetensors file: the header first, then
// parts straight from tensor memory.
#pragma once

#include <ckptfs/checkpoint/safetensors.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stop_token>
#include <vector>

#include "checkpoint/io/byte_sink.h"

namespace ckptfs {

// On one executor, that of the sink. Copies share the layout. Keeps the
// storages alive; their bytes must not change until WriteTo has ended.
class SafetensorsWriter {
 public:
  // Errors: those of SaveSafetensors that the tensors cause.
  static Result<SafetensorsWriter> Plan(SafetensorsFile file);

  std::uint64_t file_bytes() const { return layout_->bytes; }

  // Writes all parts; the caller commits. kCancelled: `stop` was asked between
  // two parts.
  Task<Result<void>> WriteTo(ByteSink& sink, std::stop_token stop);

 private:
  struct Layout {
    std::string header;
    SafetensorsFile file;
    // Header and tensors, in order, none of them empty.
    std::vector<std::span<const std::byte>> pieces;
    std::uint64_t bytes = 0;
  };
  explicit SafetensorsWriter(std::shared_ptr<const Layout> layout)
      : layout_(std::move(layout)) {}

  std::shared_ptr<const Layout> layout_;
};

}  // namespace ckptfs
