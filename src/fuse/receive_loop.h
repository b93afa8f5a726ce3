// ReceiveLoop: reads requests from the FUSE device into slabs. libfuse's own
// loop owns its buffers; this one lends them, so that the bytes of a write stay
// where the kernel put them until they are sent to S3.
#pragma once

#include <cstddef>
#include <memory>

#include "common/slab_pool.h"
#include "fuse/connection.h"

namespace ckptfs::fuse {

// One thread's loop. Not thread-safe, but for TakeSlab's thread-local access.
class ReceiveLoop {
 public:
  ReceiveLoop(Connection& connection, SlabPool& slabs)
      : connection_(connection), slabs_(slabs) {}

  // Reads and dispatches one request; blocks until one comes. False once the
  // connection has ended (unmounted, aborted, fuse_session_exit). A signal
  // makes it return true without a request.
  bool ReceiveOne();

  // Called below ReceiveOne, while a write request is dispatched: takes the
  // slab away from the loop, which goes on with a fresh one. `data` is the
  // payload inside it.
  static SlabSlice TakeSlab(const void* data, std::size_t size);

 private:
  Connection& connection_;
  SlabPool& slabs_;
  std::shared_ptr<Slab> slab_;  // reused until a write keeps it
};

}  // namespace ckptfs::fuse
