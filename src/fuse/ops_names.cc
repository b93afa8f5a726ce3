// Requests about names: lookup, forget, mkdir, rmdir, unlink, rename, and those
// that make what S3 has no form for.
#include <string>
#include <utility>

#include "fuse/operations.h"
#include "fuse/request.h"

namespace ckptfs::fuse {

namespace {

fs::Reply<fs::Entry> EntryReply(Request request) {
  return fs::Reply<fs::Entry>(
      [request = std::move(request)](Result<fs::Entry> entry) mutable {
        if (!entry.has_value()) return request.Fail(entry.error());
        // The dispatcher outlives the answer, the request does not.
        Dispatcher& dispatcher = request.dispatcher();
        if (!request.ReplyEntry(*entry)) {
          dispatcher.Forget(entry->attributes.ino, 1);
        }
      });
}

// EOPNOTSUPP at once; the log says what was wanted.
void RefuseUnsupported(fuse_req_t req, const char* operation, fuse_ino_t ino,
                       const char* name) noexcept {
  Serve(req, operation, ino, [&](Request request) {
    request.set_name(name);
    request.Fail(Error(ErrorCode::kUnsupported, "not served by this version"));
  });
}

}  // namespace

void OnLookup(fuse_req_t req, fuse_ino_t parent, const char* name) noexcept {
  Serve(req, "lookup", parent, [&](Request request) {
    request.set_name(name);
    Dispatcher& dispatcher = request.dispatcher();
    const fs::Caller caller = request.caller();
    std::string copy = name;
    dispatcher.Lookup(caller, Ino(parent), std::move(copy),
                      EntryReply(std::move(request)));
  });
}

void OnForget(fuse_req_t req, fuse_ino_t ino, std::uint64_t count) noexcept {
  Serve(req, "forget", ino, [&](Request request) {
    request.dispatcher().Forget(Ino(ino), count);
    request.None();
  });
}

void OnForgetMulti(fuse_req_t req, std::size_t count,
                   fuse_forget_data* forgets) noexcept {
  Serve(req, "forget", 0, [&](Request request) {
    for (std::size_t i = 0; i < count; ++i) {
      request.dispatcher().Forget(Ino(forgets[i].ino), forgets[i].nlookup);
    }
    request.None();
  });
}

void OnMkdir(fuse_req_t req, fuse_ino_t parent, const char* name,
             mode_t mode) noexcept {
  Serve(req, "mkdir", parent, [&](Request request) {
    request.set_name(name);
    Dispatcher& dispatcher = request.dispatcher();
    const fs::Caller caller = request.caller();
    dispatcher.MakeDirectory(caller, Ino(parent), name, mode,
                             EntryReply(std::move(request)));
  });
}

void OnRmdir(fuse_req_t req, fuse_ino_t parent, const char* name) noexcept {
  Serve(req, "rmdir", parent, [&](Request request) {
    request.set_name(name);
    Dispatcher& dispatcher = request.dispatcher();
    dispatcher.RemoveDirectory(Ino(parent), name,
                               EmptyReply(std::move(request)));
  });
}

void OnUnlink(fuse_req_t req, fuse_ino_t parent, const char* name) noexcept {
  Serve(req, "unlink", parent, [&](Request request) {
    request.set_name(name);
    Dispatcher& dispatcher = request.dispatcher();
    dispatcher.Unlink(Ino(parent), name, EmptyReply(std::move(request)));
  });
}

void OnRename(fuse_req_t req, fuse_ino_t parent, const char* name,
              fuse_ino_t new_parent, const char* new_name,
              unsigned flags) noexcept {
  Serve(req, "rename", parent, [&](Request request) {
    request.set_name(std::string(name) + "\" to \"" + new_name);
    Dispatcher& dispatcher = request.dispatcher();
    dispatcher.Rename(Ino(parent), name, Ino(new_parent), new_name, flags,
                      EmptyReply(std::move(request)));
  });
}

void OnMknod(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t,
             dev_t) noexcept {
  RefuseUnsupported(req, "mknod", parent, name);
}

void OnSymlink(fuse_req_t req, const char*, fuse_ino_t parent,
               const char* name) noexcept {
  RefuseUnsupported(req, "symlink", parent, name);
}

void OnLink(fuse_req_t req, fuse_ino_t, fuse_ino_t new_parent,
            const char* new_name) noexcept {
  RefuseUnsupported(req, "link", new_parent, new_name);
}

}  // namespace ckptfs::fuse
