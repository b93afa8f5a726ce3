#include "fuse/receive_loop.h"

#include <fuse_lowlevel.h>

#include <cerrno>
#include <utility>

#include "common/log.h"

namespace ckptfs::fuse {

namespace {

// libfuse hands no context of ours through process_buf.
thread_local std::shared_ptr<Slab>* current_slab = nullptr;

}  // namespace

bool ReceiveLoop::ReceiveOne() {
  fuse_session* session = connection_.session();
  if (slab_ == nullptr) slab_ = slabs_.Acquire();
  fuse_buf buffer{};
  buffer.mem = slab_->data();
  buffer.size = slab_->size();
  // Reads up to libfuse's buffer size, 256 pages and a header page: a slab.
  const int n = fuse_session_receive_buf(session, &buffer);
  if (n == -EINTR || n == -EAGAIN) return !fuse_session_exited(session);
  if (n < 0) {
    LogError("reading from the FUSE device failed with error " +
             std::to_string(-n) + "; the mount ends");
    fuse_session_exit(session);
    return false;
  }
  if (n == 0) return false;
  current_slab = &slab_;
  fuse_session_process_buf(session, &buffer);
  current_slab = nullptr;
  return true;
}

SlabSlice ReceiveLoop::TakeSlab(const void* data, std::size_t size) {
  SlabSlice slice;
  slice.offset = static_cast<std::size_t>(static_cast<const std::byte*>(data) -
                                          (*current_slab)->data());
  slice.size = size;
  slice.slab = std::move(*current_slab);
  return slice;
}

}  // namespace ckptfs::fuse
