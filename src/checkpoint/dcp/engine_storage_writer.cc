// MakeDcpStorageWriter: a checkpoint's folder, at any path the engine knows.
#include <ckptfs/checkpoint/dcp/storage_writer.h>

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "checkpoint/dcp/data_file.h"
#include "checkpoint/engine/files.h"
#include "checkpoint/engine/save_file.h"
#include "checkpoint/io/run_on.h"
#include "common/log.h"
#include "transfer/nonce.h"
#include "transfer/when_all.h"

namespace ckptfs {

namespace {

// torch 2.13, filesystem.py: _metadata_fn, DEFAULT_SUFFIX,
// CURRENT_DCP_VERSION.
constexpr char kMetadata[] = ".metadata";
constexpr char kSuffix[] = ".distcp";
constexpr char kVersion[] = "1.0.0";
// Of the save's id, in the names of files beside an older checkpoint.
constexpr std::size_t kIdDigits = 8;

std::uint64_t SizeOfItem(const DcpWriteItem& item) {
  std::uint64_t bytes = SizeOf(item.properties.dtype);
  for (const std::int64_t size : item.chunk.sizes) {
    bytes *= static_cast<std::uint64_t>(size);
  }
  return bytes;
}

// By size, the largest first, to the file with the least so far; values go
// round (filesystem.py, _split_by_size_and_type).
std::vector<std::vector<DcpWriteItem>> Split(std::vector<DcpWriteItem> items,
                                             std::size_t files) {
  if (files <= 1) return {std::move(items)};
  std::vector<std::vector<DcpWriteItem>> split(files);
  std::vector<std::uint64_t> sizes(files, 0);
  const auto tensors = std::stable_partition(
      items.begin(), items.end(), [](const DcpWriteItem& item) {
        return item.type == DcpWriteItem::Type::kBytes;
      });
  std::stable_sort(tensors, items.end(),
                   [](const DcpWriteItem& a, const DcpWriteItem& b) {
                     return SizeOfItem(a) > SizeOfItem(b);
                   });
  std::size_t next = 0;
  for (auto item = items.begin(); item != tensors; ++item) {
    split[next++ % files].push_back(std::move(*item));
  }
  for (auto item = tensors; item != items.end(); ++item) {
    const auto least = static_cast<std::size_t>(
        std::min_element(sizes.begin(), sizes.end()) - sizes.begin());
    sizes[least] += SizeOfItem(*item);
    split[least].push_back(std::move(*item));
  }
  return split;
}

// What the files of one WriteData share; touched on the strand alone.
struct Writing {
  std::stop_source stop;
  std::optional<Error> error;  // the first
  std::vector<DcpWriteResult> results;
  std::vector<std::string> written;  // relative paths
  std::uint64_t done = 0;
  std::uint64_t total = 0;
};

class EngineStorageWriter final : public DcpStorageWriter {
 public:
  EngineStorageWriter(internal::EngineRuntime& runtime, std::string path,
                      DcpWriterOptions options)
      : runtime_(runtime),
        files_(runtime),
        path_(std::move(path)),
        options_(std::move(options)),
        save_id_(MakeNonce()) {
    if (options_.prefixes == nullptr) options_.prefixes = DefaultDcpPrefixes();
  }

  void Reset(std::string checkpoint_id) override {
    if (!checkpoint_id.empty()) path_ = std::move(checkpoint_id);
    save_id_ = MakeNonce();
  }
  void SetUp(bool) override {}

  Future<DcpSavePlan> PrepareLocalPlan(DcpSavePlan plan) override {
    return runtime_.Start<DcpSavePlan>(PrepareLocal(std::move(plan)));
  }
  Future<std::vector<DcpSavePlan>> PrepareGlobalPlan(
      std::vector<DcpSavePlan> plans) override {
    return runtime_.Start<std::vector<DcpSavePlan>>(
        PrepareGlobal(std::move(plans)));
  }
  Future<std::vector<DcpWriteResult>> WriteData(
      DcpSavePlan plan, std::shared_ptr<DcpSavePlanner> planner) override {
    return runtime_.Start<std::vector<DcpWriteResult>>(
        Write(std::move(plan), std::move(planner)));
  }
  Future<void> Finish(
      DcpMetadata metadata,
      std::vector<std::vector<DcpWriteResult>> results) override {
    return runtime_.Start<void>(
        WriteMetadata(std::move(metadata), std::move(results)));
  }
  Future<void> Abandon(std::vector<DcpWriteResult> results) override {
    std::set<std::string> paths;
    for (DcpWriteResult& result : results) {
      paths.insert(std::move(result.storage.relative_path));
    }
    return runtime_.Start<void>(
        RemoveAll(std::vector<std::string>(paths.begin(), paths.end())));
  }

 private:
  Task<Result<DcpSavePlan>> PrepareLocal(DcpSavePlan plan) {
    Result<void> made = co_await files_.MakeFolder(path_);
    CKPTFS_CO_RETURN_IF_ERROR(made);
    co_return std::move(plan);
  }

  Error Exists() const {
    return Error(ErrorCode::kAlreadyExists,
                 path_ +
                     " holds a checkpoint already; save elsewhere, or with "
                     "overwrite");
  }

  Task<Result<std::vector<DcpSavePlan>>> PrepareGlobal(
      std::vector<DcpSavePlan> plans) {
    Result<bool> exists = co_await files_.Exists(JoinPath(path_, kMetadata));
    CKPTFS_CO_RETURN_IF_ERROR(exists);
    if (*exists && !options_.overwrite) co_return Fail(Exists());
    for (std::size_t rank = 0; rank < plans.size(); ++rank) {
      std::string prefix = options_.prefixes->PrefixOf(static_cast<int>(rank));
      // The older checkpoint's files stay as they are, as long as its metadata
      // may be read.
      if (*exists) prefix += save_id_.substr(0, kIdDigits) + "_";
      plans[rank].prefix = std::move(prefix);
    }
    co_return std::move(plans);
  }

  Task<Result<std::vector<DcpWriteResult>>> Write(
      DcpSavePlan plan, std::shared_ptr<DcpSavePlanner> planner) {
    auto writing = std::make_shared<Writing>();
    const std::stop_callback forward(
        options_.stop, [writing] { writing->stop.request_stop(); });
    const auto files =
        static_cast<std::size_t>(std::max(options_.thread_count, 1));
    const std::string prefix = plan.prefix.value_or("");
    struct Planned {
      std::string relative_path;
      std::shared_ptr<DataFile> file;
    };
    std::vector<Planned> planned;
    std::size_t number = 0;
    for (std::vector<DcpWriteItem>& items :
         Split(std::move(plan.items), files)) {
      std::string relative =
          prefix + std::to_string(number++) + std::string(kSuffix);
      if (items.empty()) continue;
      Future<DataFile> planning =
          RunOn<DataFile>(runtime_.pool(), [items = std::move(items), planner] {
            return DataFile::Plan(items, *planner);
          });
      Result<DataFile> file = co_await std::move(planning);
      if (!file) co_return Fail(file.error().WithContext("save " + path_));
      writing->total += file->bytes();
      planned.push_back(
          {std::move(relative), std::make_shared<DataFile>(*std::move(file))});
    }
    std::vector<Task<void>> tasks;
    for (Planned& each : planned) {
      tasks.push_back(WriteFile(std::move(each.relative_path),
                                std::move(each.file), writing));
    }
    planned.clear();
    co_await WhenAll(runtime_.strand(), std::move(tasks));
    if (!writing->error) co_return std::move(writing->results);
    Result<void> removed = co_await RemoveAll(writing->written);
    if (!removed) LogWarning("left over: " + removed.error().ToString());
    co_return Fail(*writing->error);
  }

  Task<void> WriteFile(std::string relative_path,
                       std::shared_ptr<DataFile> file,
                       std::shared_ptr<Writing> writing) {
    Result<void> wrote = co_await WriteOne(relative_path, file, writing);
    if (wrote) {
      writing->written.push_back(relative_path);
      for (DcpWriteResult& result : file->Results(relative_path)) {
        writing->results.push_back(std::move(result));
      }
      co_return;
    }
    if (!writing->error) writing->error = wrote.error();
    // The others' bytes are worth nothing without these.
    writing->stop.request_stop();
  }

  Task<Result<void>> WriteOne(std::string relative_path,
                              std::shared_ptr<DataFile> file,
                              std::shared_ptr<Writing> writing) {
    if (writing->error) co_return Fail(*writing->error);
    const std::string path = JoinPath(path_, relative_path);
    if (relative_path.find('/') != std::string::npos) {
      Result<void> made =
          co_await files_.MakeFolder(path.substr(0, path.rfind('/')));
      CKPTFS_CO_RETURN_IF_ERROR(made);
    }
    WriteParts write_parts = [this, file](ByteSink& sink,
                                          std::stop_token stop) {
      return file->WriteTo(sink, runtime_.pool(), std::move(stop));
    };
    SaveOptions save;
    save.stop = writing->stop.get_token();
    if (options_.progress) {
      save.progress = [writing, before = std::uint64_t{0},
                       fn = options_.progress](std::uint64_t done,
                                               std::uint64_t) mutable {
        writing->done += done - before;
        before = done;
        fn(writing->done, writing->total);
      };
    }
    Result<void> saved = co_await SaveFile(
        runtime_, path, file->bytes(), std::move(write_parts), std::move(save));
    co_return saved;
  }

  Task<Result<void>> RemoveAll(std::vector<std::string> relative_paths) {
    Result<void> all;
    for (const std::string& relative : relative_paths) {
      Result<void> removed = co_await files_.Remove(JoinPath(path_, relative));
      if (!removed && all) all = std::move(removed);
    }
    co_return all;
  }

  Task<Result<void>> WriteMetadata(
      DcpMetadata metadata, std::vector<std::vector<DcpWriteResult>> results) {
    metadata.version = kVersion;
    metadata.storage_data.clear();
    for (std::vector<DcpWriteResult>& of_rank : results) {
      for (DcpWriteResult& result : of_rank) {
        metadata.storage_data[std::move(result.index)] =
            std::move(result.storage);
      }
    }
    metadata.storage_meta.emplace();
    metadata.storage_meta->checkpoint_id = path_;
    metadata.storage_meta->save_id = save_id_;
    Future<std::string> pickling =
        RunOn<std::string>(runtime_.pool(), [metadata = std::move(metadata)] {
          return WriteDcpMetadata(metadata);
        });
    Result<std::string> bytes = co_await std::move(pickling);
    if (!bytes) co_return Fail(bytes.error().WithContext("save " + path_));
    if (options_.stop.stop_requested()) {
      co_return Fail(ErrorCode::kCancelled, "save " + path_ + ": cancelled");
    }
    WriteCondition condition;
    condition.if_none_match = !options_.overwrite;
    Result<void> put = co_await files_.Put(
        JoinPath(path_, kMetadata), *std::move(bytes), std::move(condition));
    if (!put && put.error().code() == ErrorCode::kPreconditionFailed) {
      co_return Fail(Exists());
    }
    co_return put;
  }

  internal::EngineRuntime& runtime_;
  Files files_;
  std::string path_;
  DcpWriterOptions options_;
  std::string save_id_;
};

}  // namespace

std::unique_ptr<DcpStorageWriter> MakeDcpStorageWriter(
    Engine& engine, std::string path, DcpWriterOptions options) {
  return std::make_unique<EngineStorageWriter>(
      engine.runtime(), std::move(path), std::move(options));
}

}  // namespace ckptfs
