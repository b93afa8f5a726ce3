#include "checkpoint/io/file_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "checkpoint/io/file_error.h"
#include "checkpoint/io/run_on.h"

namespace ckptfs {

namespace {

// One read(2) on a mount is as large as this at best; enough to be worth a hop
// to another thread.
constexpr std::uint64_t kPieceBytes = 8ull << 20;

}  // namespace

struct FileSource::File {
  UniqueFd fd;
  std::uint64_t size = 0;
  timespec mtime{};
};

namespace {

bool SameTime(const timespec& a, const timespec& b) {
  return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

// Bytes [offset, offset + destination.size()), fewer only at the end.
Result<std::uint64_t> ReadAt(int fd, const std::string& path,
                             std::uint64_t offset,
                             const std::vector<std::span<std::byte>>& into) {
  std::uint64_t done = 0;
  for (std::span<std::byte> segment : into) {
    while (!segment.empty()) {
      const ssize_t n = pread(fd, segment.data(), segment.size(),
                              static_cast<off_t>(offset + done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return Fail(FileError(errno, "read " + path));
      if (n == 0) return done;
      segment = segment.subspan(static_cast<std::size_t>(n));
      done += static_cast<std::uint64_t>(n);
    }
  }
  return done;
}

}  // namespace

FileSource::FileSource(std::string path, Executor& pool)
    : path_(std::move(path)), pool_(pool) {}

Task<Result<std::uint64_t>> FileSource::Open(Destination first,
                                             std::stop_token) {
  const auto open_it =
      [path = path_,
       first = std::move(first)]() -> Result<std::shared_ptr<const File>> {
    auto file = std::make_shared<File>();
    // A FIFO is refused below, and not waited for.
    file->fd = UniqueFd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!file->fd.valid()) return Fail(FileError(errno, "open " + path));
    struct stat st{};
    if (fstat(file->fd.get(), &st) != 0) {
      return Fail(FileError(errno, "stat " + path));
    }
    if (!S_ISREG(st.st_mode)) {
      return Fail(ErrorCode::kInvalidArgument, path + " is not a file");
    }
    file->size = static_cast<std::uint64_t>(st.st_size);
    file->mtime = st.st_mtim;
    CKPTFS_RETURN_IF_ERROR(ReadAt(file->fd.get(), path, 0, first.segments));
    return std::shared_ptr<const File>(std::move(file));
  };
  Future<std::shared_ptr<const File>> opening =
      RunOn<std::shared_ptr<const File>>(pool_, open_it);
  Result<std::shared_ptr<const File>> opened = co_await std::move(opening);
  CKPTFS_CO_RETURN_IF_ERROR(opened);
  file_ = *std::move(opened);
  const std::uint64_t size = file_->size;
  co_return size;
}

Task<Result<void>> FileSource::Read(std::uint64_t offset,
                                    Destination destination,
                                    std::stop_token stop) {
  std::vector<Future<void>> pieces;
  std::vector<std::span<std::byte>> piece;
  std::uint64_t piece_bytes = 0;
  std::uint64_t at = offset;
  const auto flush = [&] {
    if (piece.empty()) return;
    pieces.push_back(RunOn<void>(
        pool_,
        [file = file_, path = path_, at, stop, piece_bytes,
         owner = destination.owner,
         into = std::exchange(piece, {})]() -> Result<void> {
          if (stop.stop_requested()) {
            return Fail(ErrorCode::kCancelled, "read of " + path);
          }
          CKPTFS_ASSIGN_OR_RETURN(const std::uint64_t n,
                                  ReadAt(file->fd.get(), path, at, into));
          struct stat st{};
          if (fstat(file->fd.get(), &st) != 0) {
            return Fail(FileError(errno, "stat " + path));
          }
          if (static_cast<std::uint64_t>(st.st_size) != file->size ||
              !SameTime(st.st_mtim, file->mtime)) {
            return Fail(ErrorCode::kStale,
                        path + " was changed while it was read");
          }
          if (n != piece_bytes) {
            return Fail(
                ErrorCode::kInvalidArgument,
                path + " ends before byte " + std::to_string(at + piece_bytes));
          }
          return {};
        }));
    at += std::exchange(piece_bytes, 0);
  };
  for (std::span<std::byte> segment : destination.segments) {
    while (!segment.empty()) {
      const auto n = static_cast<std::size_t>(
          std::min<std::uint64_t>(segment.size(), kPieceBytes - piece_bytes));
      piece.push_back(segment.first(n));
      piece_bytes += n;
      segment = segment.subspan(n);
      if (piece_bytes == kPieceBytes) flush();
    }
  }
  flush();
  // All are waited for: none may touch the destination afterwards.
  Result<void> result;
  for (Future<void>& one : pieces) {
    Future<void> next = std::move(one);
    Result<void> read = co_await std::move(next);
    if (!read && result) result = std::move(read);
  }
  co_return result;
}

}  // namespace ckptfs
