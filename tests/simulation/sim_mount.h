// SimMount: one daemon, from its start to its end: the file system under test
// with its store, clock and oracle, and the requests the kernel waits for. The
// only file that knows the interface of FileSystem.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "common/clock.h"
#include "common/memory_budget.h"
#include "common/slab_pool.h"
#include "fs/file_system.h"
#include "simulation/sim_process.h"
#include "simulation/sim_store.h"
#include "support/manual_executor.h"

namespace ckptfs::sim {

class SimMount final : private fs::KernelNotifier {
 public:
  SimMount(int number, ObjectStore& bucket, const ProcessTable& processes,
           std::uint64_t first_inode)
      : number(number),
        budget(192ull << 20),
        slabs(64),
        oracle(processes),
        store(bucket),
        files(std::make_unique<fs::FileSystem>(
            fs::FileSystemParts{&store, &executor, &executor, &clock, &budget,
                                &slabs, &oracle, this},
            Options(first_inode))) {}
  ~SimMount() { Die(); }

  // Ends the daemon: what is in flight has no effect any more, and whoever
  // waits for it is told so.
  void Die() {
    if (dead) return;
    dead = true;
    auto waiting = std::exchange(waiting_, {});
    for (auto& [id, end] : waiting) end();
    store.Die();
    while (true) {
      if (executor.RunOne()) continue;
      if (oracle.pending() > 0) {
        oracle.Answer(0);
        continue;
      }
      const auto wait = clock.UntilNextTimer();
      if (!wait) break;
      clock.Advance(*wait);
    }
    files.reset();
  }

  Future<fs::Entry> Lookup(fs::Caller c, fs::InodeNumber parent,
                           std::string name,
                           std::function<void(Result<fs::Entry>&)> hook) {
    return Send<fs::Entry>(std::move(hook), [&](auto reply) {
      files->Lookup(c, parent, std::move(name), std::move(reply));
    });
  }
  Future<fs::Entry> SetAttributes(
      fs::Caller c, fs::InodeNumber ino, fs::AttributeChange change,
      std::function<void(Result<fs::Entry>&)> hook) {
    return Send<fs::Entry>(std::move(hook), [&](auto reply) {
      files->SetAttributes(c, ino, std::move(change), std::move(reply));
    });
  }
  Future<fs::Entry> MakeDirectory(
      fs::Caller c, fs::InodeNumber parent, std::string name,
      std::function<void(Result<fs::Entry>&)> hook) {
    return Send<fs::Entry>(std::move(hook), [&](auto reply) {
      files->MakeDirectory(c, parent, std::move(name), 0755, std::move(reply));
    });
  }
  Future<void> RemoveDirectory(fs::InodeNumber parent, std::string name,
                               std::function<void(Result<void>&)> hook) {
    return Send<void>(std::move(hook), [&](auto reply) {
      files->RemoveDirectory(parent, std::move(name), std::move(reply));
    });
  }
  Future<void> Unlink(fs::InodeNumber parent, std::string name,
                      std::function<void(Result<void>&)> hook) {
    return Send<void>(std::move(hook), [&](auto reply) {
      files->Unlink(parent, std::move(name), std::move(reply));
    });
  }
  Future<void> Rename(fs::InodeNumber parent, std::string name,
                      fs::InodeNumber new_parent, std::string new_name,
                      unsigned flags, std::function<void(Result<void>&)> hook) {
    return Send<void>(std::move(hook), [&](auto reply) {
      files->Rename(parent, std::move(name), new_parent, std::move(new_name),
                    flags, std::move(reply));
    });
  }
  Future<fs::CreatedFile> Create(
      fs::Caller c, fs::InodeNumber parent, std::string name, int flags,
      std::function<void(Result<fs::CreatedFile>&)> hook) {
    return Send<fs::CreatedFile>(std::move(hook), [&](auto reply) {
      files->Create(c, parent, std::move(name), 0644, flags, std::move(reply));
    });
  }
  Future<fs::OpenFile> Open(fs::Caller c, fs::InodeNumber ino, int flags,
                            std::function<void(Result<fs::OpenFile>&)> hook) {
    return Send<fs::OpenFile>(std::move(hook), [&](auto reply) {
      files->Open(c, ino, flags, std::move(reply));
    });
  }
  Future<Payload> Read(fs::InodeNumber ino, fs::HandleId handle,
                       std::uint64_t offset, std::size_t size,
                       std::function<void(Result<Payload>&)> hook) {
    return Send<Payload>(std::move(hook), [&](auto reply) {
      files->Read(ino, handle, offset, size, std::move(reply));
    });
  }
  Future<std::size_t> Write(fs::Caller c, fs::InodeNumber ino,
                            fs::HandleId handle, std::uint64_t offset,
                            SlabSlice data, bool from_page_cache,
                            std::function<void(Result<std::size_t>&)> hook) {
    return Send<std::size_t>(std::move(hook), [&](auto reply) {
      files->Write(c, ino, handle, offset, std::move(data), from_page_cache,
                   std::move(reply));
    });
  }
  Future<void> Flush(fs::Caller c, fs::InodeNumber ino, fs::HandleId handle,
                     std::function<void(Result<void>&)> hook) {
    return Send<void>(std::move(hook), [&](auto reply) {
      files->Flush(c, ino, handle, std::move(reply));
    });
  }
  Future<void> Fsync(fs::Caller, fs::InodeNumber ino, fs::HandleId handle,
                     std::function<void(Result<void>&)> hook) {
    return Send<void>(std::move(hook), [&](auto reply) {
      files->Fsync(ino, handle, std::move(reply));
    });
  }
  Future<void> Release(fs::InodeNumber ino, fs::HandleId handle,
                       std::function<void(Result<void>&)> hook) {
    return Send<void>(std::move(hook), [&](auto reply) {
      files->Release(ino, handle, std::move(reply));
    });
  }
  Future<fs::DrainReport> Drain(Duration within) {
    return Send<fs::DrainReport>(nullptr, [&](auto reply) {
      files->Drain(clock.Now() + within, std::move(reply));
    });
  }
  void Forget(fs::InodeNumber ino, std::uint64_t count) {
    files->Forget(ino, count);
  }
  // "" where the file is not the object's.
  std::string Xattr(fs::InodeNumber ino, const std::string& name) {
    std::string out;
    files->GetXattr(ino, name,
                    fs::Reply<std::string>([&out](Result<std::string> r) {
                      if (r) out = *r;
                    }));
    return out;
  }
  std::size_t waiting() const { return waiting_.size(); }

  const int number;
  bool dead = false;
  ManualExecutor executor;
  FakeClock clock;
  MemoryBudget budget;
  SlabPool slabs;
  SimOracle oracle;
  SimStore store;
  std::unique_ptr<fs::FileSystem> files;
  std::set<std::string> invalidated;  // names to be looked up again

 private:
  static fs::FileSystemOptions Options(std::uint64_t first_inode) {
    fs::FileSystemOptions options;
    options.bucket = "bucket";
    options.part_bytes = 5ull << 20;
    options.stream_window_bytes = 64ull << 20;
    options.first_inode = first_inode;
    options.check_invariants = true;
    return options;
  }
  void InvalidateInode(fs::InodeNumber) override {}
  void InvalidateEntry(fs::InodeNumber, std::string name) override {
    invalidated.insert(std::move(name));
  }

  // `hook` runs the moment the answer is given; whoever waits, later.
  template <typename T, typename Start>
  Future<T> Send(std::function<void(Result<T>&)> hook, Start start) {
    auto promise = std::make_shared<Promise<T>>();
    Future<T> future = promise->GetFuture();
    if (dead) {
      promise->Set(Fail(ErrorCode::kCancelled, "the daemon is dead"));
      return future;
    }
    const std::uint64_t id = next_++;
    waiting_[id] = [promise] {
      promise->Set(Fail(ErrorCode::kCancelled, "the daemon died"));
    };
    start(fs::Reply<T>(
        [this, id, promise, hook = std::move(hook)](Result<T> result) {
          if (waiting_.erase(id) == 0) return;
          if (hook) hook(result);
          promise->Set(std::move(result));
        }));
    return future;
  }

  std::map<std::uint64_t, std::function<void()>> waiting_;
  std::uint64_t next_ = 1;
};

}  // namespace ckptfs::sim
