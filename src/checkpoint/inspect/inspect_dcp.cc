#include "checkpoint/inspect/inspect_dcp.h"

#include <ckptfs/checkpoint/dcp/metadata.h>

#include <set>
#include <span>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "checkpoint/dcp/metadata_file.h"
#include "checkpoint/io/run_on.h"
#include "checkpoint/pickle/pickle_reader.h"
#include "checkpoint/torch_file/weights_only.h"

namespace ckptfs {

namespace {

constexpr std::string_view kMetadataModule =
    "torch.distributed.checkpoint.metadata";

bool IsGetattr(const Global& global) {
  return global.module == "builtins" && global.name == "getattr";
}

// What torch pickles into .metadata itself (formats: "Object graph").
bool IsOfDcp(const Global& global) {
  const std::string_view module = global.module;
  return module == kMetadataModule ||
         module == "torch.distributed.checkpoint.filesystem" ||
         (module.starts_with("pathlib") && global.name.ends_with("Path")) ||
         IsAllowedUnderWeightsOnly(global, {});
}

// Notes whether getattr is called on anything but the enumeration that Python
// 3.11 pickles as getattr(_MEM_FORMAT_ENCODING, name) (Lib/enum.py).
class GetattrScan final : public PickleHandler {
 public:
  Result<Value> Reduce(const Global& callable,
                       const std::vector<Value>& args) override {
    if (IsGetattr(callable)) {
      const Global* of = args.empty() ? nullptr : args[0].AsGlobal();
      if (of == nullptr || of->module != kMetadataModule ||
          of->name != "_MEM_FORMAT_ENCODING") {
        unsafe = true;
      }
    }
    return PickleHandler::Reduce(callable, args);
  }
  bool unsafe = false;
};

Result<FileSummary> Summarize(std::span<const std::byte> bytes) {
  CKPTFS_ASSIGN_OR_RETURN(const std::vector<Global> globals,
                          ScanPickleGlobals(bytes));
  GetattrScan getattrs;
  CKPTFS_RETURN_IF_ERROR(ReadPickle(bytes, getattrs));
  CKPTFS_ASSIGN_OR_RETURN(const DcpMetadata metadata, ParseDcpMetadata(bytes));
  FileSummary summary;
  summary.kind = FileSummary::Kind::kDcp;
  for (const Global& global : globals) {
    if (IsGetattr(global) ? getattrs.unsafe : !IsOfDcp(global))
      summary.unsafe_globals.push_back(global);
  }
  std::size_t chunks = 0;
  for (const auto& [name, item] : metadata.items) {
    const auto* tensor = std::get_if<DcpTensorMetadata>(&item);
    if (tensor == nullptr) {
      summary.others.emplace_back(name, "a value, saved whole");
      continue;
    }
    chunks += tensor->chunks.size();
    std::uint64_t tensor_bytes = SizeOf(tensor->properties.dtype);
    for (const std::int64_t size : tensor->size) {
      if (__builtin_mul_overflow(tensor_bytes, static_cast<std::uint64_t>(size),
                                 &tensor_bytes)) {
        return Fail(ErrorCode::kInvalidArgument,
                    "tensor " + name + ": a size that overflows");
      }
    }
    summary.tensors.push_back(
        {name, tensor->properties.dtype, tensor->size, tensor_bytes});
  }
  std::set<std::string_view> files;
  for (const auto& [index, info] : metadata.storage_data) {
    files.insert(info.relative_path);
    summary.file_bytes += info.length;
  }
  summary.stored_bytes = summary.file_bytes;
  if (metadata.version)
    summary.format.emplace_back("version", *metadata.version);
  summary.format.emplace_back("metadata bytes", std::to_string(bytes.size()));
  summary.format.emplace_back("files", std::to_string(files.size()));
  summary.format.emplace_back("items",
                              std::to_string(metadata.storage_data.size()));
  summary.format.emplace_back("chunks", std::to_string(chunks));
  return summary;
}

}  // namespace

std::string DcpFolderOf(const OpenedFile& metadata) {
  constexpr std::string_view kFile = "/.metadata";
  std::string name = metadata.name();
  if (name.ends_with(kFile)) name.resize(name.size() - kFile.size());
  return name;
}

Task<Result<FileSummary>> InspectDcp(internal::EngineRuntime& runtime,
                                     OpenedFile metadata,
                                     std::stop_token stop) {
  Result<std::string> bytes =
      co_await DcpMetadataBytes(metadata, std::move(stop));
  CKPTFS_CO_RETURN_IF_ERROR(bytes);
  Future<FileSummary> summarizing =
      RunOn<FileSummary>(runtime.pool(), [bytes = *std::move(bytes)] {
        return Summarize(std::as_bytes(std::span(bytes)));
      });
  Result<FileSummary> summary = co_await std::move(summarizing);
  if (!summary) co_return Fail(summary.error().WithContext(metadata.name()));
  summary->name = DcpFolderOf(metadata);
  co_return summary;
}

}  // namespace ckptfs
