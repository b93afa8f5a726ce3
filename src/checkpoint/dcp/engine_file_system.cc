// MakeDcpFileSystem: streams and names over the engine's files.
#include <ckptfs/checkpoint/dcp/file_system.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "checkpoint/engine/files.h"
#include "checkpoint/engine/stream_sink.h"
#include "common/log.h"

namespace ckptfs {

namespace {

// Smaller reads fetch this much and keep it: a pickle is read in small bites.
constexpr std::uint64_t kWindow = 1ull << 20;

class ReadStream final : public DcpReadStream {
 public:
  ReadStream(internal::EngineRuntime& runtime,
             std::shared_ptr<ByteSource> source, std::uint64_t size,
             std::shared_ptr<std::string> first)
      : runtime_(runtime),
        source_(std::move(source)),
        size_(size),
        window_(std::move(first)) {
    window_->resize(std::min<std::uint64_t>(window_->size(), size_));
  }

  Result<std::uint64_t> Read(std::span<std::byte> into) override {
    into = into.first(std::min<std::uint64_t>(into.size(), size_ - at_));
    std::uint64_t done = FromWindow(into);
    const std::span<std::byte> rest = into.subspan(done);
    if (rest.size() >= kWindow) {
      CKPTFS_RETURN_IF_ERROR(Fetch(at_, rest, nullptr));
      at_ += rest.size();
    } else if (!rest.empty()) {
      auto window =
          std::make_shared<std::string>(std::min(kWindow, size_ - at_), '\0');
      CKPTFS_RETURN_IF_ERROR(
          Fetch(at_, std::as_writable_bytes(std::span(*window)), window));
      window_ = std::move(window);
      window_at_ = at_;
      FromWindow(rest);
    }
    return into.size();
  }
  Result<void> Seek(std::uint64_t position) override {
    at_ = std::min(position, size_);
    return {};
  }
  std::uint64_t Tell() const override { return at_; }
  std::uint64_t size() const override { return size_; }

 private:
  std::uint64_t FromWindow(std::span<std::byte> into) {
    if (at_ < window_at_ || at_ >= window_at_ + window_->size()) return 0;
    const std::uint64_t skip = at_ - window_at_;
    const std::uint64_t n =
        std::min<std::uint64_t>(into.size(), window_->size() - skip);
    if (n > 0) std::memcpy(into.data(), window_->data() + skip, n);
    at_ += n;
    return n;
  }
  Result<void> Fetch(std::uint64_t offset, std::span<std::byte> into,
                     std::shared_ptr<void> owner) {
    Destination destination;
    destination.segments = {into};
    destination.owner = std::move(owner);
    return runtime_
        .Start<void>(source_->Read(offset, std::move(destination), {}))
        .Get();
  }

  internal::EngineRuntime& runtime_;
  const std::shared_ptr<ByteSource> source_;
  const std::uint64_t size_;
  std::uint64_t at_ = 0;
  std::uint64_t window_at_ = 0;
  std::shared_ptr<std::string> window_;
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
      const std::uint64_t part_bytes = sink_->NextPartBytes();
      const std::uint64_t n =
          std::min<std::uint64_t>(bytes.size(), part_bytes - part_.size());
      part_.append(reinterpret_cast<const char*>(bytes.data()), n);
      bytes = bytes.subspan(n);
      at_ += n;
      if (part_.size() == part_bytes) CKPTFS_RETURN_IF_ERROR(SendPart());
    }
    return {};
  }
  std::uint64_t Tell() const override { return at_; }
  Result<void> Close() override {
    if (sink_ == nullptr) {
      return Fail(ErrorCode::kInvalidArgument, "the stream is closed already");
    }
    Result<void> done;
    if (!part_.empty()) done = SendPart();
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
    return runtime_.Start<void>(sink_->Write(std::exchange(part_, {}))).Get();
  }
  // The sink lives and ends on the strand.
  void Drop() {
    runtime_.strand().Post(
        [sink = std::move(sink_)]() mutable { sink.reset(); });
    sink_ = nullptr;
  }

  internal::EngineRuntime& runtime_;
  std::shared_ptr<StreamSink> sink_;  // null: closed
  std::string part_;
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
      CKPTFS_ASSIGN_OR_RETURN(
          stream.reader,
          runtime_.Start<std::unique_ptr<DcpReadStream>>(OpenToRead(path))
              .Get());
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
  Task<Result<std::unique_ptr<DcpReadStream>>> OpenToRead(std::string path) {
    Result<std::unique_ptr<ByteSource>> opened =
        co_await files_.Source(std::move(path));
    CKPTFS_CO_RETURN_IF_ERROR(opened);
    const std::shared_ptr<ByteSource> source = *std::move(opened);
    auto first = std::make_shared<std::string>(kWindow, '\0');
    Destination into;
    into.segments = {std::as_writable_bytes(std::span(*first))};
    into.owner = first;
    Result<std::uint64_t> size =
        co_await source->Open(std::move(into), std::stop_token());
    CKPTFS_CO_RETURN_IF_ERROR(size);
    std::unique_ptr<DcpReadStream> stream =
        std::make_unique<ReadStream>(runtime_, source, *size, std::move(first));
    co_return std::move(stream);
  }

  internal::EngineRuntime& runtime_;
  Files files_;
};

}  // namespace

std::unique_ptr<DcpFileSystem> MakeDcpFileSystem(Engine& engine) {
  return std::make_unique<EngineFileSystem>(engine.runtime());
}

}  // namespace ckptfs
