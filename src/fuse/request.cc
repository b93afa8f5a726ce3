#include "fuse/request.h"

#include <fuse_lowlevel.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "common/log.h"
#include "fuse/errno_map.h"

namespace ckptfs::fuse {

namespace {

// Below this a copy is cheaper than a change of threads.
constexpr std::size_t kInlineReplyBytes = 4096;
// writev(2) takes at most IOV_MAX (1,024) pieces; libfuse adds the header.
constexpr std::size_t kMaxPieces = 1000;
// What programs should write at once: Python, cp and friends take it as their
// buffer size.
constexpr blksize_t kBlockBytes = 1 << 20;

timespec ToTimespec(WallTime t) {
  const auto since = t.time_since_epoch();
  const auto seconds = std::chrono::floor<std::chrono::seconds>(since);
  return {static_cast<time_t>(seconds.count()),
          static_cast<long>(std::chrono::nanoseconds(since - seconds).count())};
}

double Seconds(Duration d) { return std::chrono::duration<double>(d).count(); }

fuse_entry_param ToParam(const fs::Entry& entry) {
  fuse_entry_param p{};
  p.ino = static_cast<std::uint64_t>(entry.attributes.ino);
  FillStat(entry.attributes, p.attr);
  p.attr_timeout = Seconds(entry.ttl);
  p.entry_timeout = Seconds(entry.ttl);
  return p;
}

fuse_file_info ToFileInfo(const fs::OpenFile& open, int flags) {
  fuse_file_info fi{};
  fi.flags = flags;
  fi.fh = static_cast<std::uint64_t>(open.handle);
  fi.direct_io = open.direct_io;
  fi.keep_cache = open.keep_cache;
  return fi;
}

}  // namespace

void FillStat(const fs::Attributes& a, struct stat& out) {
  out = {};
  out.st_ino = static_cast<ino_t>(a.ino);
  out.st_mode = a.mode;
  out.st_nlink = a.nlink;
  out.st_uid = a.uid;
  out.st_gid = a.gid;
  out.st_size = static_cast<off_t>(a.size);
  out.st_blksize = kBlockBytes;
  out.st_blocks = static_cast<blkcnt_t>((a.size + 511) / 512);
  out.st_mtim = ToTimespec(a.mtime);
  out.st_ctim = ToTimespec(a.ctime);
  out.st_atim = ToTimespec(a.atime);
}

Request::Request(fuse_req* req, const char* operation,
                 std::uint64_t ino) noexcept
    : req_(req),
      connection_(
          static_cast<Connection*>(fuse_req_userdata(req))->shared_from_this()),
      operation_(operation),
      ino_(ino) {}

Request::Request(Request&& other) noexcept
    : req_(other.Take()),
      connection_(std::move(other.connection_)),
      operation_(other.operation_),
      ino_(other.ino_),
      name_(std::move(other.name_)) {}

Request::~Request() {
  if (req_ != nullptr) fuse_reply_err(req_, EIO);
}

fs::Caller Request::caller() const {
  const fuse_ctx* ctx = fuse_req_ctx(req_);
  return {ctx->uid, ctx->gid, ctx->pid};
}

std::string Request::Subject() const {
  std::string out = operation_;
  if (!name_.empty()) {
    out += " of \"" + name_ + "\" in";
  } else {
    out += " of";
  }
  return out + " inode " + std::to_string(ino_);
}

void Request::Succeed() { fuse_reply_err(Take(), 0); }

void Request::Fail(const Error& error) {
  if (!IsEverydayAnswer(error.code())) {
    LogWarning(Subject() + " failed: " + error.ToString());
  }
  fuse_reply_err(Take(), ToErrno(error.code()));
}

void Request::FailErrno(int error) { fuse_reply_err(Take(), error); }

void Request::None() { fuse_reply_none(Take()); }

bool Request::ReplyEntry(const fs::Entry& entry) {
  const fuse_entry_param p = ToParam(entry);
  return fuse_reply_entry(Take(), &p) == 0;
}

bool Request::ReplyCreate(const fs::CreatedFile& created, int flags) {
  const fuse_entry_param p = ToParam(created.entry);
  const fuse_file_info fi = ToFileInfo(created.open, flags);
  return fuse_reply_create(Take(), &p, &fi) == 0;
}

bool Request::ReplyOpen(const fs::OpenFile& open, int flags) {
  const fuse_file_info fi = ToFileInfo(open, flags);
  return fuse_reply_open(Take(), &fi) == 0;
}

void Request::ReplyAttributes(const fs::Entry& entry) {
  struct stat st;
  FillStat(entry.attributes, st);
  fuse_reply_attr(Take(), &st, Seconds(entry.ttl));
}

void Request::ReplyWritten(std::size_t bytes) {
  fuse_reply_write(Take(), bytes);
}

void Request::ReplyStatFs(const fs::FileSystemStatistics& s) {
  struct statvfs out{};
  out.f_bsize = s.block_bytes;
  out.f_frsize = s.block_bytes;
  out.f_blocks = s.blocks;
  out.f_bfree = s.free_blocks;
  out.f_bavail = s.free_blocks;
  out.f_files = s.files;
  out.f_ffree = s.free_files;
  out.f_favail = s.free_files;
  out.f_namemax = s.name_max;
  fuse_reply_statfs(Take(), &out);
}

void Request::ReplyBytes(const char* data, std::size_t size) {
  fuse_reply_buf(Take(), data, size);
}

void Request::ReplyXattrSize(std::size_t size) {
  fuse_reply_xattr(Take(), size);
}

void Request::ReplyPayload(Payload payload, std::size_t limit) {
  const std::uint64_t size = payload.size();
  if (size > limit) {
    Fail(Error(ErrorCode::kInternal, "the answer has " + std::to_string(size) +
                                         " bytes, asked for " +
                                         std::to_string(limit)));
    return;
  }
  if (size <= kInlineReplyBytes) {
    SendPayload(payload);
    return;
  }
  Executor& work = connection_->work();
  work.Post(
      [request = std::move(*this), payload = std::move(payload)]() mutable {
        request.SendPayload(payload);
      });
}

void Request::SendPayload(const Payload& payload) {
  if (payload.segments.size() > kMaxPieces) {
    std::string joined;
    joined.reserve(payload.size());
    for (const auto& s : payload.segments) {
      joined.append(reinterpret_cast<const char*>(s.data()), s.size());
    }
    fuse_reply_buf(Take(), joined.data(), joined.size());
    return;
  }
  std::vector<iovec> pieces;
  pieces.reserve(payload.segments.size());
  for (const auto& s : payload.segments) {
    pieces.push_back({const_cast<std::byte*>(s.data()), s.size()});
  }
  fuse_reply_iov(Take(), pieces.data(), static_cast<int>(pieces.size()));
}

}  // namespace ckptfs::fuse
