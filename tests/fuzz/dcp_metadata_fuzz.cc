// The .metadata of a distributed checkpoint; what is read is written and read
// again.
#include <ckptfs/checkpoint/dcp/metadata.h>

#include "fuzz/fuzz_target.h"

using ckptfs::FuzzRequire;

namespace {

bool Same(const std::optional<ckptfs::DcpStorageMeta>& a,
          const std::optional<ckptfs::DcpStorageMeta>& b) {
  if (!a || !b) return a.has_value() == b.has_value();
  return a->checkpoint_id == b->checkpoint_id && a->save_id == b->save_id &&
         a->load_id == b->load_id && a->modules == b->modules;
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto metadata = ckptfs::ParseDcpMetadata(ckptfs::FuzzInput(data, size));
  if (!metadata) return 0;
  for (const auto& [index, info] : metadata->storage_data) {
    const std::string path = "/" + info.relative_path + "/";
    FuzzRequire(path.find("//") == std::string::npos &&
                    path.find("/../") == std::string::npos,
                "no path leaves the folder");
    FuzzRequire(info.offset + info.length >= info.offset, "no item wraps");
  }
  const auto written = ckptfs::WriteDcpMetadata(*metadata);
  if (!written) std::fprintf(stderr, "%s\n", written.error().message().c_str());
  FuzzRequire(written.has_value(), "what was read can be written");
  const auto again =
      ckptfs::ParseDcpMetadata(std::as_bytes(std::span(*written)));
  if (!again) std::fprintf(stderr, "%s\n", again.error().message().c_str());
  FuzzRequire(again.has_value(), "what was written can be read");
  FuzzRequire(again->items == metadata->items &&
                  again->planner_data == metadata->planner_data &&
                  again->storage_data == metadata->storage_data &&
                  again->version == metadata->version &&
                  Same(again->storage_meta, metadata->storage_meta),
              "what was written is what is read");
  return 0;
}
