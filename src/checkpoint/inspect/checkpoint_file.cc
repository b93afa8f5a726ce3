#include "checkpoint/inspect/checkpoint_file.h"

#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "checkpoint/engine/files.h"
#include "checkpoint/engine/location.h"
#include "checkpoint/torch_file/torch_file_reader.h"

namespace ckptfs {

namespace {

constexpr char kDcpMetadata[] = ".metadata";

Task<Result<OpenedFile>> OpenPath(internal::EngineRuntime& runtime,
                                  std::string path, std::stop_token stop) {
  Files files(runtime);
  Result<std::unique_ptr<ByteSource>> source =
      co_await files.Source(std::move(path));
  CKPTFS_CO_RETURN_IF_ERROR(source);
  Result<OpenedFile> file =
      co_await OpenedFile::Open(*std::move(source), std::move(stop));
  co_return file;
}

std::optional<FileSummary::Kind> KindOf(const OpenedFile& file) {
  const std::string_view head = file.head();
  if (head.starts_with("PK\x03\x04") || !TorchFileReader::RefuseLegacy(file)) {
    return FileSummary::Kind::kTorchSave;
  }
  if (head.size() > 8 && head[8] == '{') {
    return FileSummary::Kind::kSafetensors;
  }
  return std::nullopt;
}

}  // namespace

Task<Result<CheckpointFile>> OpenCheckpointFile(
    internal::EngineRuntime& runtime, std::string path, std::stop_token stop) {
  Result<Location> location = ParseLocation(path);
  CKPTFS_CO_RETURN_IF_ERROR(location);
  // The root of a bucket has no key.
  const bool root =
      location->kind == Location::Kind::kObject && location->key.empty();
  const bool folder = root || path.ends_with('/');
  std::optional<Error> error;
  if (!root) {
    Result<OpenedFile> file = co_await OpenPath(runtime, path, stop);
    if (file) {
      const std::string_view name = file->name();
      if (name.substr(name.rfind('/') + 1) == kDcpMetadata) {
        co_return CheckpointFile(*std::move(file), FileSummary::Kind::kDcp);
      }
      const std::optional<FileSummary::Kind> kind = KindOf(*file);
      if (!kind) {
        co_return Fail(ErrorCode::kInvalidArgument,
                       file->name() +
                           " is neither a zip of torch.save nor a safetensors "
                           "file");
      }
      co_return CheckpointFile(*std::move(file), *kind);
    }
    error = file.error();
    if (error->code() != ErrorCode::kNotFound &&
        error->code() != ErrorCode::kInvalidArgument) {
      co_return Fail(*error);
    }
  }
  std::string inside = JoinPath(path, kDcpMetadata);
  Result<OpenedFile> metadata =
      co_await OpenPath(runtime, std::move(inside), std::move(stop));
  if (metadata) {
    co_return CheckpointFile(*std::move(metadata), FileSummary::Kind::kDcp);
  }
  if (folder && metadata.error().code() == ErrorCode::kNotFound &&
      metadata.error().s3_code() != "NoSuchBucket") {
    co_return Fail(ErrorCode::kInvalidArgument,
                   path +
                       ": a folder without .metadata is no checkpoint of "
                       "DCP");
  }
  if (!error) co_return Fail(metadata.error());
  if (error->code() == ErrorCode::kInvalidArgument &&
      error->http_status() == 0 &&
      metadata.error().code() == ErrorCode::kNotFound) {
    co_return Fail(error->code(), error->message() +
                                      ", and a folder without .metadata is no "
                                      "checkpoint of DCP");
  }
  co_return Fail(*error);
}

}  // namespace ckptfs
