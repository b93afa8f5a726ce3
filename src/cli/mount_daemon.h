// MountDaemon: the process behind a mount. Wires store, file system and FUSE,
// then waits for the end: a signal, `ckptfs umount`, or the mount removed from
// outside.
#pragma once

#include <signal.h>

#include <ckptfs/object_store.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/control_channel.h"
#include "cli/exit_code.h"
#include "cli/options.h"
#include "common/clock.h"
#include "common/executors.h"
#include "common/memory_budget.h"
#include "common/slab_pool.h"
#include "fs/file_system.h"
#include "fuse/file_system_dispatcher.h"
#include "fuse/proc_process_oracle.h"
#include "fuse/session.h"

namespace ckptfs::cli {

struct StartFailure {
  ExitCode code = ExitCode::kOther;
  std::string line;  // what is wrong and what to do
};

// SIGTERM, SIGINT, SIGHUP: blocked by the caller of Start before any thread.
sigset_t StopSignals();

// Lives until the end of the process and is never destroyed: requests in flight
// refer to all of its parts. Used from the main thread; blocks there.
class MountDaemon {
 public:
  // Bucket, credentials and List permission are checked before the mount
  // appears; when this returns the kernel serves it. A failure leaves no mount.
  static tl::expected<MountDaemon*, StartFailure> Start(
      const MountOptions& options);

  // Serves until the mount has ended. `wanted` false: nobody waits for this
  // mount any more, end it at once. kLostFiles if files were given up.
  ExitCode Serve(bool wanted);

 private:
  // What other threads tell the main thread.
  struct Events;
  MountDaemon(const MountOptions& options, std::unique_ptr<ObjectStore> store,
              std::string endpoint_url);
  // May throw what the standard library throws.
  static tl::expected<MountDaemon*, StartFailure> TryToStart(
      const MountOptions& options, const std::string& what);
  std::optional<StartFailure> Mount();
  ExitCode ServeUntilTheEnd(bool wanted);
  // Without a drain.
  void RemoveMount();
  fs::FileSystemOptions FsOptions() const;
  void BeginDrain(const std::string& reason);
  void TakeSignal();
  // Asks for the files that keep the drain waiting, and tells those of the
  // question before.
  void Progress();
  ExitCode Finish();
  void Say(LogLevel level, const std::string& line);

  // In order of construction; see Mount().
  const MountOptions options_;
  const std::string source_;  // s3://bucket/prefix
  const std::uint64_t memory_limit_;
  // What user.ckptfs.endpoint shows: where a client with the same settings
  // goes.
  const std::string endpoint_url_;
  const std::unique_ptr<ObjectStore> store_;
  SystemClock clock_;
  ThreadPool strand_;
  ThreadPool work_;
  MemoryBudget budget_;
  SlabPool slabs_;
  fuse::ProcProcessOracle oracle_;
  std::unique_ptr<fuse::Session> session_;
  std::unique_ptr<fs::FileSystem> file_system_;
  std::unique_ptr<fuse::FileSystemDispatcher> dispatcher_;
  std::optional<ControlServer> control_;
  std::shared_ptr<Events> events_;
  fuse::FileDescriptor signals_;

  // Used by the main thread alone.
  bool draining_ = false;
  SteadyTime drain_deadline_{};
  SteadyTime next_progress_{};
  std::optional<Future<std::vector<std::string>>> unpublished_;
};

}  // namespace ckptfs::cli
