// The head of a safetensors file; what is read is written and read again.
#include "checkpoint/safetensors/safetensors_header.h"
#include "fuzz/fuzz_target.h"

using ckptfs::FuzzRequire;

namespace {

bool Same(const ckptfs::SafetensorsHeader& a,
          const ckptfs::SafetensorsHeader& b) {
  if (a.metadata != b.metadata || a.tensors.size() != b.tensors.size()) {
    return false;
  }
  for (std::size_t i = 0; i < a.tensors.size(); ++i) {
    const ckptfs::SafetensorsEntry& x = a.tensors[i];
    const ckptfs::SafetensorsEntry& y = b.tensors[i];
    if (x.name != y.name || x.dtype != y.dtype || x.shape != y.shape ||
        x.begin != y.begin || x.end != y.end) {
      return false;
    }
  }
  return true;
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // The input is a file without its data: 8 bytes of length, then JSON; sizes
  // within it need not be backed by bytes.
  const auto file = ckptfs::FuzzInput(data, size);
  std::uint64_t file_bytes = size;
  const auto length = ckptfs::ParseSafetensorsLength(
      file.first(std::min<std::size_t>(8, size)), size);
  if (!length) return 0;
  FuzzRequire(*length <= size - 8, "the header lies in the file");
  const auto json = file.subspan(8, *length);
  auto header = ckptfs::ParseSafetensorsHeader(json, file_bytes);
  if (!header) {
    // The data are not there: as long as the last tensor would have it.
    const std::string text(reinterpret_cast<const char*>(json.data()),
                           json.size());
    const std::size_t at = text.rfind(',');
    if (at == std::string::npos) return 0;
    const std::uint64_t end = std::strtoull(text.c_str() + at + 1, nullptr, 10);
    if (end > (1ull << 62)) return 0;
    file_bytes = 8 + *length + end;
    header = ckptfs::ParseSafetensorsHeader(json, file_bytes);
    if (!header) return 0;
  }
  std::uint64_t at = 0;
  for (const ckptfs::SafetensorsEntry& entry : header->tensors) {
    FuzzRequire(entry.begin == at && entry.end >= at, "tensors without holes");
    at = entry.end;
  }
  FuzzRequire(header->data_offset + at == file_bytes, "as long as its tensors");

  ckptfs::SafetensorsHeader again = *header;
  const auto head = ckptfs::LayOutSafetensors(again);
  FuzzRequire(head.has_value(), "what was read can be written");
  const auto bytes = std::as_bytes(std::span(*head));
  const auto reread =
      ckptfs::ParseSafetensorsHeader(bytes.subspan(8), again.file_bytes);
  FuzzRequire(reread.has_value(), "what was written can be read");
  // Of tensors without bytes, which share their place, the order is free.
  for (const ckptfs::SafetensorsEntry& entry : again.tensors) {
    if (entry.begin == entry.end) return 0;
  }
  FuzzRequire(Same(again, *reread), "what was written is what is read");
  return 0;
}
