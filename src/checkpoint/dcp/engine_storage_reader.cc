// MakeDcpStorageReader: a checkpoint's folder, at any path the engine knows.
#include <ckptfs/checkpoint/dcp/storage_reader.h>

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "checkpoint/dcp/data_file_reader.h"
#include "checkpoint/dcp/metadata_file.h"
#include "checkpoint/engine/files.h"
#include "checkpoint/io/arrivals.h"
#include "checkpoint/io/opened_file.h"
#include "checkpoint/io/side_by_side.h"

namespace ckptfs {

namespace {

// Each keeps a descriptor or a few requests busy.
constexpr std::size_t kFilesInFlight = 8;

using Wants = std::vector<DataFileReader::Want>;

// What the files of one ReadData share; touched on the strand alone.
struct Reading {
  std::map<std::string, Wants> files;
  std::shared_ptr<DcpLoadPlanner> planner;
  std::function<void(std::uint64_t)> got;
};

class EngineStorageReader final : public DcpStorageReader {
 public:
  EngineStorageReader(internal::EngineRuntime& runtime, std::string path,
                      LoadOptions options)
      : runtime_(runtime),
        files_(runtime),
        path_(std::move(path)),
        options_(std::move(options)) {}

  void Reset(std::string checkpoint_id) override {
    if (!checkpoint_id.empty()) path_ = std::move(checkpoint_id);
    metadata_ = {};
    tensors_.clear();
  }
  Future<DcpMetadata> ReadMetadata() override {
    return runtime_.Start<DcpMetadata>(FetchMetadata());
  }
  void SetUp(DcpMetadata metadata, bool) override {
    metadata_ = std::move(metadata);
    tensors_.clear();
    for (const auto& [fqn, item] : metadata_.items) {
      if (const auto* tensor = std::get_if<DcpTensorMetadata>(&item)) {
        tensors_[fqn] = tensor;
      }
    }
  }
  Result<DcpLoadPlan> PrepareLocalPlan(DcpLoadPlan plan) override {
    return plan;
  }
  Result<std::vector<DcpLoadPlan>> PrepareGlobalPlan(
      std::vector<DcpLoadPlan> plans) override {
    return plans;
  }
  Future<void> ReadData(DcpLoadPlan plan,
                        std::shared_ptr<DcpLoadPlanner> planner) override {
    return runtime_.Start<void>(Read(std::move(plan), std::move(planner)));
  }

 private:
  Task<Result<DcpMetadata>> FetchMetadata() {
    Result<std::unique_ptr<ByteSource>> source =
        co_await files_.Source(JoinPath(path_, ".metadata"));
    CKPTFS_CO_RETURN_IF_ERROR(source);
    Result<OpenedFile> file =
        co_await OpenedFile::Open(*std::move(source), options_.stop);
    CKPTFS_CO_RETURN_IF_ERROR(file);
    Result<DcpMetadata> metadata =
        co_await ReadDcpMetadata(runtime_, *std::move(file), options_.stop);
    co_return metadata;
  }

  Result<DataFileReader::Want> WantOf(DcpReadItem item) const {
    const std::string& fqn = item.storage_index.fqn;
    const auto bad = [&](const char* what) {
      return Fail(ErrorCode::kInvalidArgument, path_ + ", " + fqn + what);
    };
    const auto stored = metadata_.storage_data.find(item.storage_index);
    if (stored == metadata_.storage_data.end()) {
      return bad(": the metadata name no file for it");
    }
    DataFileReader::Want want;
    want.info = stored->second;
    if (!want.info.transform_descriptors.empty()) {
      return Fail(ErrorCode::kUnsupported,
                  path_ + ", " + fqn + ": stored through " +
                      want.info.transform_descriptors.front() +
                      ", which is not read here");
    }
    if (item.type == DcpReadItem::Type::kTensor) {
      const auto tensor = tensors_.find(fqn);
      if (tensor == tensors_.end()) return bad(": not a tensor");
      const std::vector<DcpChunk>& chunks = tensor->second->chunks;
      const auto chunk =
          std::find_if(chunks.begin(), chunks.end(), [&](const DcpChunk& c) {
            return c.offsets == item.storage_index.offset;
          });
      if (chunk == chunks.end()) return bad(": no such chunk");
      want.dtype = tensor->second->properties.dtype;
      want.chunk = chunk->sizes;
      if (item.storage_offsets.size() != want.chunk.size() ||
          item.lengths.size() != want.chunk.size()) {
        return bad(": a box of other dimensions");
      }
      for (std::size_t d = 0; d < want.chunk.size(); ++d) {
        if (item.storage_offsets[d] < 0 || item.lengths[d] < 0 ||
            item.lengths[d] > want.chunk[d] ||
            item.storage_offsets[d] > want.chunk[d] - item.lengths[d]) {
          return bad(": a box that is not in the chunk");
        }
      }
    }
    want.item = std::move(item);
    return want;
  }

  Task<Result<void>> Read(DcpLoadPlan plan,
                          std::shared_ptr<DcpLoadPlanner> planner) {
    Reading reading;
    reading.planner = std::move(planner);
    std::uint64_t total = 0;
    for (DcpReadItem& item : plan.items) {
      Result<DataFileReader::Want> want = WantOf(std::move(item));
      CKPTFS_CO_RETURN_IF_ERROR(want);
      std::uint64_t bytes = want->info.length;
      if (want->item.type == DcpReadItem::Type::kTensor) {
        bytes = SizeOf(want->dtype);
        for (const std::int64_t n : want->item.lengths) {
          bytes *= static_cast<std::uint64_t>(n);
        }
      }
      total += bytes;
      Wants& wants = reading.files[want->info.relative_path];
      wants.push_back(*std::move(want));
    }
    reading.got = Arrivals(options_.progress, total);
    std::vector<std::map<std::string, Wants>::iterator> files;
    for (auto file = reading.files.begin(); file != reading.files.end();
         ++file) {
      files.push_back(file);
    }
    IndexedWork work = [this, &files, &reading](std::size_t i,
                                                std::stop_token stop) {
      return ReadFile(files[i]->first, &files[i]->second, &reading,
                      std::move(stop));
    };
    Result<void> done =
        co_await SideBySide(runtime_.strand(), files.size(), kFilesInFlight,
                            options_.stop, std::move(work));
    if (!done && options_.stop.stop_requested()) {
      co_return Fail(ErrorCode::kCancelled, "load " + path_ + ": cancelled");
    }
    co_return done;
  }

  Task<Result<void>> ReadFile(std::string relative_path, Wants* wants,
                              Reading* reading, std::stop_token stop) {
    Result<std::unique_ptr<ByteSource>> source =
        co_await files_.Source(JoinPath(path_, relative_path));
    CKPTFS_CO_RETURN_IF_ERROR(source);
    std::function<void(std::uint64_t)> got;
    if (reading->got) {
      got = [reading](std::uint64_t bytes) { reading->got(bytes); };
    }
    DataFileReader reader(runtime_, *std::move(source), *reading->planner,
                          options_, std::move(got));
    Result<void> read =
        co_await reader.Read(std::move(*wants), std::move(stop));
    co_return read;
  }

  internal::EngineRuntime& runtime_;
  Files files_;
  std::string path_;
  const LoadOptions options_;
  DcpMetadata metadata_;
  std::map<std::string, const DcpTensorMetadata*, std::less<>> tensors_;
};

}  // namespace

std::unique_ptr<DcpStorageReader> MakeDcpStorageReader(Engine& engine,
                                                       std::string path,
                                                       LoadOptions options) {
  return std::make_unique<EngineStorageReader>(
      engine.runtime(), std::move(path), std::move(options));
}

}  // namespace ckptfs
