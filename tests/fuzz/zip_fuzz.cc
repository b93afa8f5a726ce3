// A zip: tail, directory, local headers, and what is compressed.
#include <algorithm>

#include "checkpoint/zip/zip_directory.h"
#include "fuzz/fuzz_target.h"

using ckptfs::FuzzRequire;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = ckptfs::FuzzInput(data, size);
  const auto last = file.last(std::min<std::size_t>(size, ckptfs::kMaxZipTail));
  const auto tail = ckptfs::ParseZipTail(last, size);
  if (!tail) return 0;
  FuzzRequire(tail->directory_offset <= size &&
                  tail->directory_bytes <= size - tail->directory_offset,
              "the directory lies in the file");
  const auto entries = ckptfs::ParseZipDirectory(
      file.subspan(tail->directory_offset, tail->directory_bytes), *tail);
  if (!entries) return 0;
  FuzzRequire(entries->size() == tail->entries, "as many entries as it says");
  for (const ckptfs::ZipEntry& entry : *entries) {
    const auto header = file.subspan(entry.header_offset);
    const auto payload =
        ckptfs::ZipPayloadOffset(entry, header, tail->directory_offset);
    if (!payload) continue;
    FuzzRequire(*payload <= size && entry.stored_bytes <= size - *payload,
                "the payload lies in the file");
    if (!entry.deflated) continue;
    const auto bytes = ckptfs::InflateZipRecord(
        entry, file.subspan(*payload, entry.stored_bytes));
    FuzzRequire(!bytes || bytes->size() == entry.bytes,
                "inflated to what it says");
  }
  return 0;
}
