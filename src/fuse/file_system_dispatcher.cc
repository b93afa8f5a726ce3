#include "fuse/file_system_dispatcher.h"

#include <tuple>
#include <utility>

namespace ckptfs::fuse {

using fs::FileSystem;

template <typename... Params, typename... Args>
void FileSystemDispatcher::Post(void (FileSystem::*method)(Params...),
                                Args... args) {
  strand_.Post([&file_system = fs_, method,
                arguments = std::tuple<Args...>(std::move(args)...)]() mutable {
    std::apply([&](Args&... a) { (file_system.*method)(std::move(a)...); },
               arguments);
  });
}

void FileSystemDispatcher::Lookup(fs::Caller caller, fs::InodeNumber parent,
                                  std::string name,
                                  fs::Reply<fs::Entry> reply) {
  Post(&FileSystem::Lookup, caller, parent, std::move(name), std::move(reply));
}

void FileSystemDispatcher::Forget(fs::InodeNumber ino, std::uint64_t count) {
  Post(&FileSystem::Forget, ino, count);
}

void FileSystemDispatcher::GetAttributes(fs::InodeNumber ino,
                                         fs::Reply<fs::Entry> reply) {
  Post(&FileSystem::GetAttributes, ino, std::move(reply));
}

void FileSystemDispatcher::SetAttributes(fs::Caller caller, fs::InodeNumber ino,
                                         fs::AttributeChange change,
                                         fs::Reply<fs::Entry> reply) {
  Post(&FileSystem::SetAttributes, caller, ino, std::move(change),
       std::move(reply));
}

void FileSystemDispatcher::MakeDirectory(fs::Caller caller,
                                         fs::InodeNumber parent,
                                         std::string name, mode_t mode,
                                         fs::Reply<fs::Entry> reply) {
  Post(&FileSystem::MakeDirectory, caller, parent, std::move(name), mode,
       std::move(reply));
}

void FileSystemDispatcher::RemoveDirectory(fs::InodeNumber parent,
                                           std::string name,
                                           fs::Reply<void> reply) {
  Post(&FileSystem::RemoveDirectory, parent, std::move(name), std::move(reply));
}

void FileSystemDispatcher::Unlink(fs::InodeNumber parent, std::string name,
                                  fs::Reply<void> reply) {
  Post(&FileSystem::Unlink, parent, std::move(name), std::move(reply));
}

void FileSystemDispatcher::Rename(fs::InodeNumber parent, std::string name,
                                  fs::InodeNumber new_parent,
                                  std::string new_name, unsigned flags,
                                  fs::Reply<void> reply) {
  Post(&FileSystem::Rename, parent, std::move(name), new_parent,
       std::move(new_name), flags, std::move(reply));
}

void FileSystemDispatcher::Create(fs::Caller caller, fs::InodeNumber parent,
                                  std::string name, mode_t mode, int flags,
                                  fs::Reply<fs::CreatedFile> reply) {
  Post(&FileSystem::Create, caller, parent, std::move(name), mode, flags,
       std::move(reply));
}

void FileSystemDispatcher::Open(fs::Caller caller, fs::InodeNumber ino,
                                int flags, fs::Reply<fs::OpenFile> reply) {
  Post(&FileSystem::Open, caller, ino, flags, std::move(reply));
}

void FileSystemDispatcher::Read(fs::InodeNumber ino, fs::HandleId handle,
                                std::uint64_t offset, std::size_t size,
                                fs::Reply<Payload> reply) {
  Post(&FileSystem::Read, ino, handle, offset, size, std::move(reply));
}

void FileSystemDispatcher::Write(fs::Caller caller, fs::InodeNumber ino,
                                 fs::HandleId handle, std::uint64_t offset,
                                 SlabSlice data, bool from_page_cache,
                                 fs::Reply<std::size_t> reply) {
  Post(&FileSystem::Write, caller, ino, handle, offset, std::move(data),
       from_page_cache, std::move(reply));
}

void FileSystemDispatcher::Flush(fs::Caller caller, fs::InodeNumber ino,
                                 fs::HandleId handle, fs::Reply<void> reply) {
  Post(&FileSystem::Flush, caller, ino, handle, std::move(reply));
}

void FileSystemDispatcher::Fsync(fs::InodeNumber ino, fs::HandleId handle,
                                 fs::Reply<void> reply) {
  Post(&FileSystem::Fsync, ino, handle, std::move(reply));
}

void FileSystemDispatcher::Release(fs::InodeNumber ino, fs::HandleId handle,
                                   fs::Reply<void> reply) {
  Post(&FileSystem::Release, ino, handle, std::move(reply));
}

void FileSystemDispatcher::OpenDirectory(fs::InodeNumber ino,
                                         fs::Reply<fs::HandleId> reply) {
  Post(&FileSystem::OpenDirectory, ino, std::move(reply));
}

void FileSystemDispatcher::ReadDirectory(
    fs::InodeNumber ino, fs::HandleId handle, std::uint64_t offset,
    std::size_t max_entries, fs::Reply<std::vector<fs::DirectoryEntry>> reply) {
  Post(&FileSystem::ReadDirectory, ino, handle, offset, max_entries,
       std::move(reply));
}

void FileSystemDispatcher::ReleaseDirectory(fs::InodeNumber ino,
                                            fs::HandleId handle) {
  Post(&FileSystem::ReleaseDirectory, ino, handle);
}

void FileSystemDispatcher::FsyncDirectory(fs::InodeNumber ino,
                                          fs::Reply<void> reply) {
  Post(&FileSystem::FsyncDirectory, ino, std::move(reply));
}

void FileSystemDispatcher::StatFs(fs::Reply<fs::FileSystemStatistics> reply) {
  Post(&FileSystem::StatFs, std::move(reply));
}

void FileSystemDispatcher::GetXattr(fs::InodeNumber ino, std::string name,
                                    fs::Reply<std::string> reply) {
  Post(&FileSystem::GetXattr, ino, std::move(name), std::move(reply));
}

void FileSystemDispatcher::ListXattr(
    fs::InodeNumber ino, fs::Reply<std::vector<std::string>> reply) {
  Post(&FileSystem::ListXattr, ino, std::move(reply));
}

void FileSystemDispatcher::SetXattr(fs::InodeNumber ino, std::string name,
                                    std::string value, fs::Reply<void> reply) {
  Post(&FileSystem::SetXattr, ino, std::move(name), std::move(value),
       std::move(reply));
}

}  // namespace ckptfs::fuse
