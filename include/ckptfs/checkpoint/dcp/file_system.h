// DcpFileSystem: files by path behind the interface of DCP's storages (torch
// 2.13, torch/distributed/checkpoint/filesystem.py, FileSystemBase).
#pragma once

#include <ckptfs/engine.h>
#include <ckptfs/export.h>
#include <ckptfs/result.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ckptfs {

// Of one version of a file. Calls block. Not thread-safe. The engine outlives
// it.
class CKPTFS_EXPORT DcpReadStream {
 public:
  virtual ~DcpReadStream() = default;
  // Fewer bytes than asked for only at the end of the file; 0: at the end.
  virtual Result<std::uint64_t> Read(std::span<std::byte> into) = 0;
  // From the start; a position behind the end becomes the end.
  virtual Result<void> Seek(std::uint64_t position) = 0;
  virtual std::uint64_t Tell() const = 0;
  virtual std::uint64_t size() const = 0;
};

// A new file, which appears whole on Close, or not at all: destroyed before, it
// leaves nothing behind and the older file untouched. Calls block. Not
// thread-safe. The engine outlives it.
class CKPTFS_EXPORT DcpWriteStream {
 public:
  virtual ~DcpWriteStream() = default;
  // Copies the bytes; waits while too many are on their way.
  virtual Result<void> Write(std::span<const std::byte> bytes) = 0;
  virtual std::uint64_t Tell() const = 0;
  // Once; nothing may be written after it. kOutcomeUnknown: see SaveTorchFile.
  virtual Result<void> Close() = 0;
};

struct DcpStream {
  // One of them, by the mode.
  std::unique_ptr<DcpReadStream> reader;
  std::unique_ptr<DcpWriteStream> writer;
};

// Calls block, and may come from any thread but the engine's.
class CKPTFS_EXPORT DcpFileSystem {
 public:
  virtual ~DcpFileSystem() = default;

  // `mode`: "rb" or "wb"; kInvalidArgument otherwise. kNotFound: nothing to
  // read.
  virtual Result<DcpStream> CreateStream(const std::string& path,
                                         std::string_view mode) = 0;
  virtual std::string ConcatPath(const std::string& path,
                                 const std::string& suffix) = 0;
  // The path as it is used from then on. kInvalidArgument: it cannot be.
  virtual Result<std::string> InitPath(const std::string& path) = 0;
  // Replaces `to`. kInvalidArgument: they lie in different places.
  virtual Result<void> Rename(const std::string& from,
                              const std::string& to) = 0;
  // With its parents; nothing in S3.
  virtual Result<void> MakeDirectory(const std::string& path) = 0;
  // A file; folders are none.
  virtual Result<bool> Exists(const std::string& path) = 0;
  // A file that is not there is a success.
  virtual Result<void> RemoveFile(const std::string& path) = 0;
  // The names of the files right below a folder.
  virtual Result<std::vector<std::string>> List(const std::string& folder) = 0;
  // Whether the id can be a folder here; looks at the text alone.
  virtual bool ValidateCheckpointId(const std::string& checkpoint_id) = 0;
};

// s3://bucket/key, plain files and mounted paths. The engine outlives it.
CKPTFS_EXPORT std::unique_ptr<DcpFileSystem> MakeDcpFileSystem(Engine& engine);

}  // namespace ckptfs
