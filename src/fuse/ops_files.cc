// Requests about open files.
#include <utility>

#include "fuse/operations.h"
#include "fuse/receive_loop.h"
#include "fuse/request.h"

namespace ckptfs::fuse {

namespace {

// The kernel never knew of the handle: no RELEASE will come.
void TakeBack(Dispatcher& dispatcher, fs::InodeNumber ino,
              fs::HandleId handle) {
  dispatcher.Release(ino, handle, fs::Reply<void>([](Result<void>) {}));
}

}  // namespace

void OnCreate(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode,
              fuse_file_info* fi) noexcept {
  Serve(req, "create", parent, [&](Request request) {
    request.set_name(name);
    Dispatcher& dispatcher = request.dispatcher();
    const fs::Caller caller = request.caller();
    dispatcher.Create(caller, Ino(parent), name, mode, fi->flags,
                      fs::Reply<fs::CreatedFile>(
                          [request = std::move(request), flags = fi->flags](
                              Result<fs::CreatedFile> created) mutable {
                            if (!created.has_value())
                              return request.Fail(created.error());
                            Dispatcher& owner = request.dispatcher();
                            if (!request.ReplyCreate(*created, flags)) {
                              const fs::InodeNumber ino =
                                  created->entry.attributes.ino;
                              TakeBack(owner, ino, created->open.handle);
                              owner.Forget(ino, 1);
                            }
                          }));
  });
}

void OnOpen(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) noexcept {
  Serve(req, "open", ino, [&](Request request) {
    Dispatcher& dispatcher = request.dispatcher();
    const fs::Caller caller = request.caller();
    dispatcher.Open(caller, Ino(ino), fi->flags,
                    fs::Reply<fs::OpenFile>(
                        [request = std::move(request), ino,
                         flags = fi->flags](Result<fs::OpenFile> open) mutable {
                          if (!open.has_value())
                            return request.Fail(open.error());
                          Dispatcher& owner = request.dispatcher();
                          if (!request.ReplyOpen(*open, flags)) {
                            TakeBack(owner, Ino(ino), open->handle);
                          }
                        }));
  });
}

void OnRead(fuse_req_t req, fuse_ino_t ino, std::size_t size, off_t offset,
            fuse_file_info* fi) noexcept {
  Serve(req, "read", ino, [&](Request request) {
    Dispatcher& dispatcher = request.dispatcher();
    dispatcher.Read(Ino(ino), Handle(fi), static_cast<std::uint64_t>(offset),
                    size,
                    fs::Reply<Payload>([request = std::move(request),
                                        size](Result<Payload> payload) mutable {
                      if (!payload.has_value())
                        return request.Fail(payload.error());
                      request.ReplyPayload(*std::move(payload), size);
                    }));
  });
}

void OnWriteBuf(fuse_req_t req, fuse_ino_t ino, fuse_bufvec* data, off_t offset,
                fuse_file_info* fi) noexcept {
  Serve(req, "write", ino, [&](Request request) {
    Dispatcher& dispatcher = request.dispatcher();
    const fs::Caller caller = request.caller();
    // One memory buffer, inside the slab that this thread received into: splice
    // is off.
    SlabSlice slice =
        ReceiveLoop::TakeSlab(data->buf[0].mem, data->buf[0].size);
    dispatcher.Write(
        caller, Ino(ino), Handle(fi), static_cast<std::uint64_t>(offset),
        std::move(slice), fi->writepage != 0,
        fs::Reply<std::size_t>([request = std::move(request)](
                                   Result<std::size_t> written) mutable {
          if (!written.has_value()) return request.Fail(written.error());
          request.ReplyWritten(*written);
        }));
  });
}

void OnFlush(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) noexcept {
  Serve(req, "flush", ino, [&](Request request) {
    Dispatcher& dispatcher = request.dispatcher();
    const fs::Caller caller = request.caller();
    dispatcher.Flush(caller, Ino(ino), Handle(fi),
                     EmptyReply(std::move(request)));
  });
}

void OnFsync(fuse_req_t req, fuse_ino_t ino, int, fuse_file_info* fi) noexcept {
  Serve(req, "fsync", ino, [&](Request request) {
    Dispatcher& dispatcher = request.dispatcher();
    dispatcher.Fsync(Ino(ino), Handle(fi), EmptyReply(std::move(request)));
  });
}

void OnRelease(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) noexcept {
  Serve(req, "release", ino, [&](Request request) {
    Dispatcher& dispatcher = request.dispatcher();
    dispatcher.Release(Ino(ino), Handle(fi), EmptyReply(std::move(request)));
  });
}

}  // namespace ckptfs::fuse
