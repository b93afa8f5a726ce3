// Requests about attributes: stat, chmod and friends, statfs, xattrs.
#include <sys/stat.h>

#include <cerrno>
#include <chrono>
#include <string>
#include <string_view>
#include <utility>

#include "fuse/operations.h"
#include "fuse/request.h"

namespace ckptfs::fuse {

namespace {

WallTime FromTimespec(const timespec& t) {
  return WallTime(std::chrono::duration_cast<WallTime::duration>(
      std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec)));
}

fs::AttributeChange ToChange(const struct stat& attr, int to_set,
                             const fuse_file_info* fi) {
  fs::AttributeChange change;
  if (to_set & FUSE_SET_ATTR_SIZE) {
    change.size = static_cast<std::uint64_t>(attr.st_size);
  }
  if (to_set & FUSE_SET_ATTR_MODE) change.mode = attr.st_mode & 07777;
  if (to_set & FUSE_SET_ATTR_UID) change.uid = attr.st_uid;
  if (to_set & FUSE_SET_ATTR_GID) change.gid = attr.st_gid;
  // The kernel sets ..._NOW besides the plain bit, with no time in it.
  const WallTime now = std::chrono::system_clock::now();
  if (to_set & FUSE_SET_ATTR_MTIME_NOW) {
    change.mtime = now;
  } else if (to_set & FUSE_SET_ATTR_MTIME) {
    change.mtime = FromTimespec(attr.st_mtim);
  }
  if (to_set & FUSE_SET_ATTR_ATIME_NOW) {
    change.atime = now;
  } else if (to_set & FUSE_SET_ATTR_ATIME) {
    change.atime = FromTimespec(attr.st_atim);
  }
  if (fi != nullptr) change.handle = fs::HandleId{fi->fh};
  return change;
}

fs::Reply<fs::Entry> AttributesReply(Request request) {
  return fs::Reply<fs::Entry>(
      [request = std::move(request)](Result<fs::Entry> entry) mutable {
        if (!entry.has_value()) return request.Fail(entry.error());
        request.ReplyAttributes(*entry);
      });
}

// Size 0 asks for the size; a value that does not fit is ERANGE (getxattr(2)).
void ReplyXattr(Request request, const std::string& value, std::size_t size) {
  if (size == 0) {
    request.ReplyXattrSize(value.size());
  } else if (value.size() > size) {
    request.FailErrno(ERANGE);
  } else {
    request.ReplyBytes(value.data(), value.size());
  }
}

// Only user attributes exist here. The kernel asks for security.capability at
// every write through the page cache, and tools for POSIX ACLs at every file:
// not worth a trip to the strand.
bool IsUserAttribute(std::string_view name) {
  return name.starts_with("user.");
}

}  // namespace

void OnGetattr(fuse_req_t req, fuse_ino_t ino, fuse_file_info*) noexcept {
  Serve(req, "getattr", ino, [&](Request request) {
    Dispatcher& dispatcher = request.dispatcher();
    dispatcher.GetAttributes(Ino(ino), AttributesReply(std::move(request)));
  });
}

void OnSetattr(fuse_req_t req, fuse_ino_t ino, struct stat* attr, int to_set,
               fuse_file_info* fi) noexcept {
  Serve(req, "setattr", ino, [&](Request request) {
    Dispatcher& dispatcher = request.dispatcher();
    const fs::Caller caller = request.caller();
    dispatcher.SetAttributes(caller, Ino(ino), ToChange(*attr, to_set, fi),
                             AttributesReply(std::move(request)));
  });
}

void OnStatfs(fuse_req_t req, fuse_ino_t ino) noexcept {
  Serve(req, "statfs", ino, [&](Request request) {
    Dispatcher& dispatcher = request.dispatcher();
    dispatcher.StatFs(fs::Reply<fs::FileSystemStatistics>(
        [request = std::move(request)](
            Result<fs::FileSystemStatistics> statistics) mutable {
          if (!statistics.has_value()) return request.Fail(statistics.error());
          request.ReplyStatFs(*statistics);
        }));
  });
}

void OnGetxattr(fuse_req_t req, fuse_ino_t ino, const char* name,
                std::size_t size) noexcept {
  Serve(req, "getxattr", ino, [&](Request request) {
    request.set_name(name);
    if (!IsUserAttribute(name)) return request.FailErrno(ENODATA);
    Dispatcher& dispatcher = request.dispatcher();
    dispatcher.GetXattr(
        Ino(ino), name,
        fs::Reply<std::string>([request = std::move(request),
                                size](Result<std::string> value) mutable {
          if (value.has_value()) {
            return ReplyXattr(std::move(request), *value, size);
          }
          if (value.error().code() == ErrorCode::kNotFound) {
            return request.FailErrno(ENODATA);
          }
          request.Fail(value.error());
        }));
  });
}

void OnListxattr(fuse_req_t req, fuse_ino_t ino, std::size_t size) noexcept {
  Serve(req, "listxattr", ino, [&](Request request) {
    Dispatcher& dispatcher = request.dispatcher();
    dispatcher.ListXattr(
        Ino(ino), fs::Reply<std::vector<std::string>>(
                      [request = std::move(request),
                       size](Result<std::vector<std::string>> names) mutable {
                        if (!names.has_value())
                          return request.Fail(names.error());
                        std::string joined;
                        for (const std::string& n : *names) {
                          joined += n;
                          joined += '\0';
                        }
                        ReplyXattr(std::move(request), joined, size);
                      }));
  });
}

void OnSetxattr(fuse_req_t req, fuse_ino_t ino, const char* name,
                const char* value, std::size_t size, int) noexcept {
  Serve(req, "setxattr", ino, [&](Request request) {
    request.set_name(name);
    if (!IsUserAttribute(name)) return request.FailErrno(EOPNOTSUPP);
    Dispatcher& dispatcher = request.dispatcher();
    dispatcher.SetXattr(Ino(ino), name, std::string(value, size),
                        fs::Reply<void>([request = std::move(request)](
                                            Result<void> result) mutable {
                          if (!result.has_value())
                            return request.Fail(result.error());
                          request.Succeed();
                        }));
  });
}

void OnRemovexattr(fuse_req_t req, fuse_ino_t ino, const char*) noexcept {
  Serve(req, "removexattr", ino,
        [&](Request request) { request.FailErrno(EOPNOTSUPP); });
}

}  // namespace ckptfs::fuse
