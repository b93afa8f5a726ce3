// The kernel's requests, one function per operation, as libfuse calls them on
// the receive threads. Each decodes its arguments, calls the Dispatcher and
// returns; none throws or blocks.
#pragma once

#include <fuse_lowlevel.h>

#include <cstdint>
#include <utility>

#include "fs/types.h"
#include "fuse/request.h"

namespace ckptfs::fuse {

// The table for fuse_session_new; its userdata is a Connection.
fuse_lowlevel_ops MakeOperations();

// ops_names.cc
void OnLookup(fuse_req_t req, fuse_ino_t parent, const char* name) noexcept;
void OnForget(fuse_req_t req, fuse_ino_t ino, std::uint64_t count) noexcept;
void OnForgetMulti(fuse_req_t req, std::size_t count,
                   fuse_forget_data* forgets) noexcept;
void OnMkdir(fuse_req_t req, fuse_ino_t parent, const char* name,
             mode_t mode) noexcept;
void OnRmdir(fuse_req_t req, fuse_ino_t parent, const char* name) noexcept;
void OnUnlink(fuse_req_t req, fuse_ino_t parent, const char* name) noexcept;
void OnRename(fuse_req_t req, fuse_ino_t parent, const char* name,
              fuse_ino_t new_parent, const char* new_name,
              unsigned flags) noexcept;
void OnMknod(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode,
             dev_t device) noexcept;
void OnSymlink(fuse_req_t req, const char* target, fuse_ino_t parent,
               const char* name) noexcept;
void OnLink(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_parent,
            const char* new_name) noexcept;

// ops_attributes.cc
void OnGetattr(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) noexcept;
void OnSetattr(fuse_req_t req, fuse_ino_t ino, struct stat* attr, int to_set,
               fuse_file_info* fi) noexcept;
void OnStatfs(fuse_req_t req, fuse_ino_t ino) noexcept;
void OnGetxattr(fuse_req_t req, fuse_ino_t ino, const char* name,
                std::size_t size) noexcept;
void OnListxattr(fuse_req_t req, fuse_ino_t ino, std::size_t size) noexcept;
void OnSetxattr(fuse_req_t req, fuse_ino_t ino, const char* name,
                const char* value, std::size_t size, int flags) noexcept;
void OnRemovexattr(fuse_req_t req, fuse_ino_t ino, const char* name) noexcept;

// ops_files.cc
void OnCreate(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode,
              fuse_file_info* fi) noexcept;
void OnOpen(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) noexcept;
void OnRead(fuse_req_t req, fuse_ino_t ino, std::size_t size, off_t offset,
            fuse_file_info* fi) noexcept;
void OnWriteBuf(fuse_req_t req, fuse_ino_t ino, fuse_bufvec* data, off_t offset,
                fuse_file_info* fi) noexcept;
void OnFlush(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) noexcept;
void OnFsync(fuse_req_t req, fuse_ino_t ino, int data_only,
             fuse_file_info* fi) noexcept;
void OnRelease(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) noexcept;

// ops_directories.cc
void OnOpendir(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) noexcept;
void OnReaddir(fuse_req_t req, fuse_ino_t ino, std::size_t size, off_t offset,
               fuse_file_info* fi) noexcept;
void OnReleasedir(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) noexcept;
void OnFsyncdir(fuse_req_t req, fuse_ino_t ino, int data_only,
                fuse_file_info* fi) noexcept;

// Runs the body of a trampoline with the request, which answers itself if the
// body throws (bad_alloc: nothing else below throws).
template <typename Body>
void Serve(fuse_req_t req, const char* operation, fuse_ino_t ino,
           Body body) noexcept {
  Request request(req, operation, ino);
  try {
    body(std::move(request));
  } catch (...) {
    fuse_log(FUSE_LOG_ERR, "%s of inode %llu ended by an exception", operation,
             static_cast<unsigned long long>(ino));
  }
}

inline fs::InodeNumber Ino(fuse_ino_t ino) { return fs::InodeNumber{ino}; }
inline fs::HandleId Handle(const fuse_file_info* fi) {
  return fs::HandleId{fi->fh};
}

// Answers success or the error.
fs::Reply<void> EmptyReply(Request request);

}  // namespace ckptfs::fuse
