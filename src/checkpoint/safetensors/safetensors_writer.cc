#include "checkpoint/safetensors/safetensors_writer.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "checkpoint/safetensors/safetensors_header.h"

namespace ckptfs {

namespace {

Result<void> CheckTensor(const std::string& name, const TensorView& tensor) {
  const auto bad = [&name](const std::string& what) {
    return Fail(ErrorCode::kInvalidArgument, "tensor \"" + name + "\" " + what);
  };
  if (tensor.storage == nullptr ||
      tensor.storage->memory.size() != tensor.storage->bytes) {
    return bad("is not loaded");
  }
  const Result<void> inside = CheckBounds(tensor);
  if (!inside)
    return bad("lies outside its storage: " + inside.error().message());
  if (!tensor.contiguous()) {
    return bad(
        "is not contiguous, and safetensors knows no strides; save a "
        "contiguous copy of it");
  }
  return {};
}

}  // namespace

Result<SafetensorsWriter> SafetensorsWriter::Plan(SafetensorsFile file) {
  auto layout = std::make_shared<Layout>();
  layout->file = std::move(file);
  SafetensorsHeader header;
  header.metadata = layout->file.metadata;
  std::unordered_map<std::string_view, const TensorView*> by_name;
  for (const auto& [name, tensor] : layout->file.tensors) {
    CKPTFS_RETURN_IF_ERROR(CheckTensor(name, tensor));
    header.tensors.push_back({name, tensor.dtype, tensor.shape, 0, 0});
    by_name[name] = &tensor;
  }
  CKPTFS_ASSIGN_OR_RETURN(layout->header, LayOutSafetensors(header));
  layout->bytes = header.file_bytes;
  layout->pieces.push_back(std::as_bytes(std::span(layout->header)));
  for (const SafetensorsEntry& entry : header.tensors) {
    if (entry.begin == entry.end) continue;
    layout->pieces.push_back(by_name.at(entry.name)->bytes());
  }
  return SafetensorsWriter(std::move(layout));
}

Task<Result<void>> SafetensorsWriter::WriteTo(ByteSink& sink,
                                              std::stop_token stop) {
  const std::uint64_t part_bytes = sink.part_bytes();
  const std::shared_ptr<const Layout> layout = layout_;
  std::size_t next = 0;       // the piece that goes out
  std::uint64_t written = 0;  // of it
  while (next < layout->pieces.size()) {
    if (stop.stop_requested()) {
      co_return Fail(ErrorCode::kCancelled,
                     "save " + sink.name() + ": cancelled");
    }
    Payload part;
    part.owner = std::const_pointer_cast<Layout>(layout);
    std::uint64_t room = part_bytes;
    while (room > 0 && next < layout->pieces.size()) {
      const std::span<const std::byte> left =
          layout->pieces[next].subspan(written);
      const std::uint64_t n = std::min<std::uint64_t>(room, left.size());
      part.segments.push_back(left.first(n));
      room -= n;
      written += n;
      if (n == left.size()) {
        ++next;
        written = 0;
      }
    }
    Result<void> wrote = co_await sink.Write(std::move(part));
    CKPTFS_CO_RETURN_IF_ERROR(wrote);
  }
  co_return Result<void>();
}

}  // namespace ckptfs
