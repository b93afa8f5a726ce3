// SimProgram: what a trainer does to the mount, as straight code: open, write,
// close, die. Every call runs the world until it is answered; after a crash of
// the daemon every call gives kCrashed.
#pragma once

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>

#include "simulation/sim_world.h"

namespace ckptfs::sim {

struct SimFile {
  fs::InodeNumber ino{};
  fs::HandleId handle{};
};

class SimProgram {
 public:
  SimProgram(SimWorld& world, pid_t tid) : world_(world), tid_(tid) {
    world.oracle.threads[tid] = {
        .tgid = tid, .dying = false, .other_writable = {}};
  }

  fs::Caller caller() const { return {0, 0, tid_}; }

  // open(2) in the root, with O_CREAT. nullopt: it failed.
  std::optional<SimFile> Open(const std::string& name, int flags) {
    auto found = world_.Await<fs::Entry>([&](auto reply) {
      world_.files.Lookup(caller(), fs::kRootInode, name, std::move(reply));
    });
    if (!Ok(found)) {
      if (!found || (*found).error().code() != ErrorCode::kNotFound ||
          (flags & O_CREAT) == 0) {
        return std::nullopt;
      }
      auto made = world_.Await<fs::CreatedFile>([&](auto reply) {
        world_.files.Create(caller(), fs::kRootInode, name, 0644, flags,
                            std::move(reply));
      });
      if (!Ok(made)) return std::nullopt;
      return SimFile{(**made).entry.attributes.ino, (**made).open.handle};
    }
    const fs::InodeNumber ino = (**found).attributes.ino;
    auto open = world_.Await<fs::OpenFile>([&](auto reply) {
      world_.files.Open(caller(), ino, flags & ~O_CREAT, std::move(reply));
    });
    if (!Ok(open)) return std::nullopt;
    return SimFile{ino, (**open).handle};
  }

  bool Write(const SimFile& file, std::uint64_t offset,
             const std::string& data) {
    std::size_t at = 0;
    while (at < data.size()) {
      const std::size_t n = std::min<std::size_t>(data.size() - at, 1u << 20);
      SlabSlice slice{world_.slabs.Acquire(), 80, n};
      std::memcpy(slice.slab->data() + 80, data.data() + at, n);
      auto done = world_.Await<std::size_t>([&](auto reply) {
        world_.files.Write(caller(), file.ino, file.handle, offset + at,
                           std::move(slice), false, std::move(reply));
      });
      if (!Ok(done)) return false;
      at += n;
    }
    return true;
  }

  // close(2): the flush's result; the release follows.
  bool Close(const SimFile& file) {
    auto flushed = world_.Await<void>([&](auto reply) {
      world_.files.Flush(caller(), file.ino, file.handle, std::move(reply));
    });
    const bool ok = Ok(flushed);
    if (!flushed) return false;
    Release(file);
    return ok;
  }
  bool Fsync(const SimFile& file) {
    return Ok(world_.Await<void>([&](auto reply) {
      world_.files.Fsync(file.ino, file.handle, std::move(reply));
    }));
  }
  bool Rename(const std::string& from, const std::string& to) {
    return Ok(world_.Await<void>([&](auto reply) {
      world_.files.Rename(fs::kRootInode, from, fs::kRootInode, to, 0,
                          std::move(reply));
    }));
  }
  bool Unlink(const std::string& name) {
    return Ok(world_.Await<void>([&](auto reply) {
      world_.files.Unlink(fs::kRootInode, name, std::move(reply));
    }));
  }
  // SIGKILL while `file` is open: the kernel flushes and releases for it.
  void Kill(const SimFile& file) {
    world_.oracle.threads[tid_].dying = true;
    Close(file);
  }

  // The whole content through the mount; nullopt if it cannot be read.
  std::optional<std::string> ReadAll(const std::string& name) {
    const std::optional<SimFile> file = Open(name, O_RDONLY);
    if (!file) return std::nullopt;
    std::string out;
    while (true) {
      auto data = world_.Await<Payload>([&](auto reply) {
        world_.files.Read(file->ino, file->handle, out.size(), 1u << 20,
                          std::move(reply));
      });
      if (!Ok(data)) {
        if (data) Release(*file);
        return std::nullopt;
      }
      if ((**data).size() == 0) break;
      for (const auto& s : (**data).segments) {
        out.append(reinterpret_cast<const char*>(s.data()), s.size());
      }
    }
    Release(*file);
    return out;
  }

  // Why the last failed call failed.
  const std::optional<Error>& last_error() const { return last_error_; }

 private:
  template <typename T>
  bool Ok(const std::optional<Result<T>>& result) {
    if (result && !result->has_value()) last_error_ = result->error();
    return result && result->has_value();
  }
  void Release(const SimFile& file) {
    world_.Await<void>([&](auto reply) {
      world_.files.Release(file.ino, file.handle, std::move(reply));
    });
  }

  SimWorld& world_;
  const pid_t tid_;
  std::optional<Error> last_error_;
};

}  // namespace ckptfs::sim
