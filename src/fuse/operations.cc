#include "fuse/operations.h"

#include "common/slab_pool.h"
#include "fuse/connection.h"

namespace ckptfs::fuse {

namespace {

// The largest request: FUSE_MAX_MAX_PAGES (256) pages, the kernel's default for
// fs.fuse.max_pages_limit. libfuse reads it into a buffer of one page more.
constexpr unsigned kMaxWriteBytes = 1u << 20;
static_assert(SlabPool::kSlabBytes >= kMaxWriteBytes + 4096);
// Read-ahead and asynchronous direct requests that the kernel sends at once.
constexpr unsigned kMaxBackground = 64;
constexpr unsigned kCongestion = 48;

void OnInit(void* userdata, fuse_conn_info* conn) noexcept {
  conn->max_write = kMaxWriteBytes;
  conn->max_background = kMaxBackground;
  conn->congestion_threshold = kCongestion;
  conn->time_gran = 1;
  // Not wanted: WRITEBACK_CACHE (fs must see each write() when it happens),
  // splice (requests go straight into slabs), locks (kernel-local),
  // READDIRPLUS, EXPORT_SUPPORT (inode numbers do not outlive the mount),
  // AUTO_INVAL_DATA (a remote change is a new inode; fs tells the kernel the
  // rest, which EXPLICIT_INVAL_DATA promises).
  // HANDLE_KILLPRIV: suid and sgid bits are masked anyway.
  conn->want =
      conn->capable & (FUSE_CAP_ASYNC_READ | FUSE_CAP_ATOMIC_O_TRUNC |
                       FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_ASYNC_DIO |
                       FUSE_CAP_HANDLE_KILLPRIV | FUSE_CAP_EXPLICIT_INVAL_DATA);
  static_cast<Connection*>(userdata)->set_initialized();
}

}  // namespace

fs::Reply<void> EmptyReply(Request request) {
  return fs::Reply<void>(
      [request = std::move(request)](Result<void> result) mutable {
        if (!result.has_value()) return request.Fail(result.error());
        request.Succeed();
      });
}

fuse_lowlevel_ops MakeOperations() {
  // Left out, so that the kernel falls back or refuses: access (the kernel
  // checks with default_permissions), ioctl, fallocate, lseek,
  // copy_file_range, poll, locks, readdirplus.
  fuse_lowlevel_ops ops{};
  ops.init = &OnInit;
  ops.lookup = &OnLookup;
  ops.forget = &OnForget;
  ops.forget_multi = &OnForgetMulti;
  ops.getattr = &OnGetattr;
  ops.setattr = &OnSetattr;
  ops.mknod = &OnMknod;
  ops.mkdir = &OnMkdir;
  ops.unlink = &OnUnlink;
  ops.rmdir = &OnRmdir;
  ops.symlink = &OnSymlink;
  ops.rename = &OnRename;
  ops.link = &OnLink;
  ops.open = &OnOpen;
  ops.read = &OnRead;
  ops.write_buf = &OnWriteBuf;
  ops.flush = &OnFlush;
  ops.release = &OnRelease;
  ops.fsync = &OnFsync;
  ops.opendir = &OnOpendir;
  ops.readdir = &OnReaddir;
  ops.releasedir = &OnReleasedir;
  ops.fsyncdir = &OnFsyncdir;
  ops.statfs = &OnStatfs;
  ops.setxattr = &OnSetxattr;
  ops.getxattr = &OnGetxattr;
  ops.listxattr = &OnListxattr;
  ops.removexattr = &OnRemovexattr;
  ops.create = &OnCreate;
  return ops;
}

}  // namespace ckptfs::fuse
