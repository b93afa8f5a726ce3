// Requests about open directories.
#include <algorithm>
#include <utility>
#include <vector>

#include "fuse/operations.h"
#include "fuse/request.h"

namespace ckptfs::fuse {

namespace {

// A directory entry takes at least 24 bytes of header and 8 of padded name
// (struct fuse_dirent in linux/fuse.h).
constexpr std::size_t kMinEntryBytes = 32;

void ReplyEntries(Request request, const std::vector<fs::DirectoryEntry>& list,
                  std::size_t size) {
  std::vector<char> buffer(size);
  std::size_t used = 0;
  for (const fs::DirectoryEntry& entry : list) {
    struct stat st{};
    st.st_ino = static_cast<ino_t>(entry.ino);
    st.st_mode = entry.type;
    const std::size_t needed = fuse_add_direntry(
        request.raw(), buffer.data() + used, size - used, entry.name.c_str(),
        &st, static_cast<off_t>(entry.next));
    if (needed > size - used) break;  // the kernel asks again from here
    used += needed;
  }
  request.ReplyBytes(buffer.data(), used);
}

}  // namespace

void OnOpendir(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) noexcept {
  Serve(req, "opendir", ino, [&](Request request) {
    Dispatcher& dispatcher = request.dispatcher();
    dispatcher.OpenDirectory(
        Ino(ino), fs::Reply<fs::HandleId>(
                      [request = std::move(request), ino,
                       flags = fi->flags](Result<fs::HandleId> handle) mutable {
                        if (!handle.has_value())
                          return request.Fail(handle.error());
                        Dispatcher& owner = request.dispatcher();
                        fs::OpenFile open;
                        open.handle = *handle;
                        if (!request.ReplyOpen(open, flags)) {
                          owner.ReleaseDirectory(Ino(ino), *handle);
                        }
                      }));
  });
}

void OnReaddir(fuse_req_t req, fuse_ino_t ino, std::size_t size, off_t offset,
               fuse_file_info* fi) noexcept {
  Serve(req, "readdir", ino, [&](Request request) {
    Dispatcher& dispatcher = request.dispatcher();
    dispatcher.ReadDirectory(
        Ino(ino), Handle(fi), static_cast<std::uint64_t>(offset),
        std::max<std::size_t>(size / kMinEntryBytes, 1),
        fs::Reply<std::vector<fs::DirectoryEntry>>(
            [request = std::move(request),
             size](Result<std::vector<fs::DirectoryEntry>> list) mutable {
              if (!list.has_value()) return request.Fail(list.error());
              ReplyEntries(std::move(request), *list, size);
            }));
  });
}

void OnReleasedir(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) noexcept {
  Serve(req, "releasedir", ino, [&](Request request) {
    request.dispatcher().ReleaseDirectory(Ino(ino), Handle(fi));
    request.Succeed();
  });
}

void OnFsyncdir(fuse_req_t req, fuse_ino_t ino, int, fuse_file_info*) noexcept {
  Serve(req, "fsyncdir", ino, [&](Request request) {
    Dispatcher& dispatcher = request.dispatcher();
    dispatcher.FsyncDirectory(Ino(ino),
                              fs::Reply<void>([request = std::move(request)](
                                                  Result<void> result) mutable {
                                if (!result.has_value())
                                  return request.Fail(result.error());
                                request.Succeed();
                              }));
  });
}

}  // namespace ckptfs::fuse
