// MakeDcpFileSystem: streams and names over the engine's files.
#include <ckptfs/checkpoint/dcp/file_system.h>

#include <algorithm>
#include <utility>

#include "checkpoint/engine/files.h"
#include "checkpoint/engine/read_ahead.h"
#include "checkpoint/engine/stream_sink.h"
#include "common/log.h"

namespace ckptfs {

namespace {

class ReadStream final : public DcpReadStream {
 public:
  explicit ReadStream(std::unique_ptr<ReadAhead> file)
      : file_(std::move(file)) {}

  Result<std::uint64_t> Read(std::span<std::byte> into) override {
    const ReadAhead::Waiter wait = [](Future<void> future,
                                      const std::stop_source&) {
      return std::move(future).Get();
    };
    CKPTFS_ASSIGN_OR_RETURN(const std::uint64_t n,
                            file_->Read(at_, into, wait));
    at_ += n;
    return n;
  }
  Result<void> Seek(std::uint64_t position) override {
    at_ = std::min(position, size());
    return {};
  }
  std::uint64_t Tell() const override { return at_; }
  std::uint64_t size() const override { return file_->size(); }

 private:
  const std::unique_ptr<ReadAhead> file_;
  std::uint64_t at_ = 0;
};

class WriteStream final : public DcpWriteStream {
 public:
  WriteStream(internal::EngineRuntime& runtime,
              std::shared_ptr<StreamSink> sink)
      : runtime_(runtime), sink_(std::move(sink)) {}
  ~WriteStream() override {
    if (sink_ == nullptr) return;
    const Result<void> aborted = runtime_.Start<void>(sink_->Abort()).Get();
    if (!aborted) LogWarning("left over: " + aborted.error().ToString());
    Drop();
  }

  Result<void> Write(std::span<const std::byte> bytes) override {
    if (sink_ == nullptr) {
      return Fail(ErrorCode::kInvalidArgument, "a write to a closed stream");
    }
    while (!bytes.empty()) {
      if (part_ == nullptr) {
        part_ = sink_->TakeBuffer();
        part_->clear();
      }
      const std::uint64_t part_bytes = sink_->NextPartBytes();
      const std::uint64_t n =
          std::min<std::uint64_t>(bytes.size(), part_bytes - part_->size());
      part_->append(reinterpret_cast<const char*>(bytes.data()), n);
      bytes = bytes.subspan(n);
      at_ += n;
      if (part_->size() == part_bytes) CKPTFS_RETURN_IF_ERROR(SendPart());
    }
    return {};
  }
  std::uint64_t Tell() const override { return at_; }
  Result<void> Close() override {
    if (sink_ == nullptr) {
      return Fail(ErrorCode::kInvalidArgument, "the stream is closed already");
    }
    Result<void> done;
    if (part_ != nullptr) done = SendPart();
    if (done) done = runtime_.Start<void>(sink_->Commit({})).Get();
    if (!done) {
      const Result<void> aborted = runtime_.Start<void>(sink_->Abort()).Get();
      if (!aborted) LogWarning("left over: " + aborted.error().ToString());
    }
    Drop();
    return done;
  }

 private:
  Result<void> SendPart() {
    return runtime_.Start<void>(sink_->Write(std::exchange(part_, nullptr)))
        .Get();
  }
  // The sink lives and ends on the strand.
  void Drop() {
    runtime_.strand().Post(
        [sink = std::move(sink_)]() mutable { sink.reset(); });
    sink_ = nullptr;
  }

  internal::EngineRuntime& runtime_;
  std::shared_ptr<StreamSink> sink_;   // null: closed
  std::shared_ptr<std::string> part_;  // null: nothing of it yet
  std::uint64_t at_ = 0;
};

class EngineFileSystem final : public DcpFileSystem {
 public:
  explicit EngineFileSystem(internal::EngineRuntime& runtime)
      : runtime_(runtime), files_(runtime) {}

  Result<DcpStream> CreateStream(const std::string& path,
                                 std::string_view mode) override {
    DcpStream stream;
    if (mode == "rb") {
      CKPTFS_ASSIGN_OR_RETURN(std::unique_ptr<ReadAhead> file,
                              runtime_
                                  .Start<std::unique_ptr<ReadAhead>>(
                                      ReadAhead::Open(runtime_, path, {}))
                                  .Get());
      stream.reader = std::make_unique<ReadStream>(std::move(file));
      return stream;
    }
    if (mode != "wb") {
      return Fail(ErrorCode::kInvalidArgument,
                  "the mode " + std::string(mode) + "; it is rb or wb");
    }
    CKPTFS_ASSIGN_OR_RETURN(std::shared_ptr<StreamSink> sink,
                            runtime_
                                .Start<std::shared_ptr<StreamSink>>(
                                    StreamSink::Create(runtime_, path))
                                .Get());
    stream.writer = std::make_unique<WriteStream>(runtime_, std::move(sink));
    return stream;
  }
  std::string ConcatPath(const std::string& path,
                         const std::string& suffix) override {
    return JoinPath(path, suffix);
  }
  Result<std::string> InitPath(const std::string& path) override {
    CKPTFS_RETURN_IF_ERROR(ParseLocation(path));
    return path;
  }
  Result<void> Rename(const std::string& from, const std::string& to) override {
    return runtime_.Start<void>(files_.Rename(from, to)).Get();
  }
  Result<void> MakeDirectory(const std::string& path) override {
    return runtime_.Start<void>(files_.MakeFolder(path)).Get();
  }
  Result<bool> Exists(const std::string& path) override {
    return runtime_.Start<bool>(files_.Exists(path)).Get();
  }
  Result<void> RemoveFile(const std::string& path) override {
    return runtime_.Start<void>(files_.Remove(path)).Get();
  }
  Result<std::vector<std::string>> List(const std::string& folder) override {
    return runtime_.Start<std::vector<std::string>>(files_.List(folder)).Get();
  }
  bool ValidateCheckpointId(const std::string& checkpoint_id) override {
    return ParseLocation(checkpoint_id).has_value();
  }

 private:
  internal::EngineRuntime& runtime_;
  Files files_;
};

}  // namespace

std::unique_ptr<DcpFileSystem> MakeDcpFileSystem(Engine& engine) {
  return std::make_unique<EngineFileSystem>(engine.runtime());
}

}  // namespace ckptfs
