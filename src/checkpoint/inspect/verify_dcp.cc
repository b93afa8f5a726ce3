#include "checkpoint/inspect/verify_dcp.h"

#include <ckptfs/checkpoint/dcp/metadata.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "checkpoint/dcp/check_metadata.h"
#include "checkpoint/dcp/item_source.h"
#include "checkpoint/dcp/metadata_file.h"
#include "checkpoint/engine/files.h"
#include "checkpoint/engine/location.h"
#include "checkpoint/inspect/inspect_dcp.h"
#include "checkpoint/inspect/verify_zip.h"
#include "checkpoint/io/side_by_side.h"
#include "checkpoint/io/string_destination.h"

namespace ckptfs {

namespace {

// Their product, of 8 MiB each, is the memory that is needed.
constexpr std::size_t kItemsAtATime = 6;
constexpr std::size_t kBlocksAhead = 2;

struct Item {
  std::string fqn;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

// All but the first kMaxDamages are only counted.
void Add(VerifyReport& report, std::vector<Damage> damages,
         std::uint64_t count) {
  report.damage_count += count;
  for (Damage& damage : damages) {
    if (report.damages.size() == ZipVerifier::kMaxDamages) return;
    report.damages.push_back(std::move(damage));
  }
}

void Add(VerifyReport& report, Damage damage) {
  std::vector<Damage> damages;
  damages.push_back(std::move(damage));
  Add(report, std::move(damages), 1);
}

std::string Text(const DcpSizes& sizes) {
  std::string out;
  for (const std::int64_t size : sizes) {
    out += (out.empty() ? "" : ", ") + std::to_string(size);
  }
  return "[" + out + "]";
}

class DcpVerifier {
 public:
  DcpVerifier(internal::EngineRuntime& runtime, std::string folder,
              std::stop_token stop)
      : runtime_(runtime),
        files_(runtime),
        folder_(std::move(folder)),
        stop_(std::move(stop)) {
    report_.name = folder_;
    report_.kind = FileSummary::Kind::kDcp;
    report_.checksums = true;
  }

  Task<Result<VerifyReport>> Verify(DcpMetadata metadata) {
    const Result<void> grouped = Group(std::move(metadata));
    CKPTFS_CO_RETURN_IF_ERROR(grouped);
    for (const auto& [path, items] : items_) {
      Result<void> verified = co_await VerifyDataFile(path, &items);
      CKPTFS_CO_RETURN_IF_ERROR(verified);
    }
    std::stable_sort(report_.damages.begin(), report_.damages.end(),
                     [](const Damage& a, const Damage& b) {
                       return std::tie(a.record, a.offset) <
                              std::tie(b.record, b.offset);
                     });
    co_return std::move(report_);
  }

 private:
  // Which items each file has, by offset; chunks that none has are damages.
  Result<void> Group(DcpMetadata metadata) {
    for (const auto& [fqn, item] : metadata.items) {
      const auto* tensor = std::get_if<DcpTensorMetadata>(&item);
      if (tensor == nullptr) {
        if (!metadata.storage_data.contains(DcpIndex{fqn, {}, {}})) {
          Add(report_, {fqn, 0, "the metadata name no file for it"});
        }
        continue;
      }
      CKPTFS_ASSIGN_OR_RETURN(const std::int64_t all, Volume(tensor->size));
      std::int64_t saved = 0;
      for (const DcpChunk& chunk : tensor->chunks) {
        // They lie in the tensor and apart, or the metadata would not parse.
        CKPTFS_ASSIGN_OR_RETURN(const std::int64_t part, Volume(chunk.sizes));
        saved += part;
      }
      if (saved != all) {
        Add(report_, {fqn, 0,
                      "its chunks hold " + std::to_string(saved) + " of its " +
                          std::to_string(all) + " elements"});
      }
      for (const DcpChunk& chunk : tensor->chunks) {
        if (metadata.storage_data.contains(DcpIndex{fqn, chunk.offsets, {}})) {
          continue;
        }
        Add(report_, {fqn, 0,
                      "the metadata name no file for the chunk at " +
                          Text(chunk.offsets)});
      }
    }
    for (const auto& [index, info] : metadata.storage_data) {
      if (!info.transform_descriptors.empty()) {
        return Fail(ErrorCode::kUnsupported,
                    folder_ + ", " + index.fqn + ": stored through " +
                        info.transform_descriptors.front() +
                        ", which is not read here");
      }
      items_[info.relative_path].push_back(
          {index.fqn, info.offset, info.length});
    }
    for (auto& [path, items] : items_) {
      std::sort(items.begin(), items.end(), [](const Item& a, const Item& b) {
        return std::tie(a.offset, a.length) < std::tie(b.offset, b.length);
      });
      // Metadata may name one place by several names.
      items.erase(std::unique(items.begin(), items.end(),
                              [](const Item& a, const Item& b) {
                                return a.offset == b.offset &&
                                       a.length == b.length;
                              }),
                  items.end());
    }
    return {};
  }

  Task<Result<void>> VerifyDataFile(std::string path,
                                    const std::vector<Item>* items) {
    Result<std::unique_ptr<ByteSource>> source =
        co_await files_.Source(JoinPath(folder_, path));
    CKPTFS_CO_RETURN_IF_ERROR(source);
    // The first bytes, as a file cannot be opened for none.
    Destination head = IntoString(std::make_shared<std::string>(1, '\0'));
    Result<std::uint64_t> size =
        co_await (*source)->Open(std::move(head), stop_);
    if (!size && size.error().code() == ErrorCode::kNotFound) {
      Add(report_, {path, 0, "there is no such file"});
      co_return Result<void>();
    }
    CKPTFS_CO_RETURN_IF_ERROR(size);
    report_.file_bytes += *size;
    IndexedWork work = [&](std::size_t i, std::stop_token stop) {
      return VerifyItem(**source, *size, path, &(*items)[i], std::move(stop));
    };
    Result<void> done =
        co_await SideBySide(runtime_.strand(), items->size(), kItemsAtATime,
                            stop_, std::move(work));
    co_return done;
  }

  Task<Result<void>> VerifyItem(ByteSource& source, std::uint64_t file_bytes,
                                std::string path, const Item* item,
                                std::stop_token stop) {
    const std::string name = path + ", " + item->fqn;
    if (item->offset > file_bytes || item->length > file_bytes - item->offset) {
      Add(report_,
          {name, item->offset,
           "the file ends at " + std::to_string(file_bytes) + ", before the " +
               std::to_string(item->length) + " bytes of the item do"});
      co_return Result<void>();
    }
    auto bytes = std::make_unique<ItemSource>(source, fetched_, name,
                                              item->offset, item->length);
    const std::uint64_t head_bytes =
        std::min(OpenedFile::kHeadBytes, item->length);
    Result<OpenedFile> file =
        co_await OpenedFile::Open(std::move(bytes), stop, head_bytes);
    CKPTFS_CO_RETURN_IF_ERROR(file);
    Result<ZipCheck> check = co_await VerifyZip(runtime_, *std::move(file),
                                                kBlocksAhead, std::move(stop));
    if (!check && (check.error().code() == ErrorCode::kInvalidArgument ||
                   check.error().code() == ErrorCode::kUnsupported)) {
      Add(report_, {name, item->offset, check.error().message()});
      co_return Result<void>();
    }
    CKPTFS_CO_RETURN_IF_ERROR(check);
    report_.parts += check->records;
    for (Damage& damage : check->damages) {
      damage.record = name + ", " + damage.record;
      damage.offset += item->offset;
    }
    Add(report_, std::move(check->damages), check->damage_count);
    co_return Result<void>();
  }

  internal::EngineRuntime& runtime_;
  Files files_;
  const std::string folder_;
  const std::stop_token stop_;
  const FetchedRanges fetched_;  // nothing: each byte is looked at once
  std::map<std::string, std::vector<Item>> items_;  // by file
  VerifyReport report_;
};

}  // namespace

Task<Result<VerifyReport>> VerifyDcp(internal::EngineRuntime& runtime,
                                     OpenedFile metadata,
                                     std::stop_token stop) {
  std::string folder = DcpFolderOf(metadata);
  Result<DcpMetadata> parsed =
      co_await ReadDcpMetadata(runtime, std::move(metadata), stop);
  CKPTFS_CO_RETURN_IF_ERROR(parsed);
  DcpVerifier verifier(runtime, std::move(folder), std::move(stop));
  Result<VerifyReport> report = co_await verifier.Verify(*std::move(parsed));
  co_return report;
}

}  // namespace ckptfs
