// The line between `ckptfs umount` and the daemon of a mount: a stream socket
// in the abstract namespace, named after the device number of the mount, which
// is unique among live mounts and is read from /proc/self/mountinfo without
// touching the mount. It leaves no file behind however the daemon ends.
//
// A connection is the request to drain and unmount. The daemon answers with
// lines "say TEXT" and at last "end CODE", then closes.
#pragma once

#include <ckptfs/result.h>
#include <ckptfs/unique_function.h>

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "cli/exit_code.h"
#include "fuse/mount_device.h"

namespace ckptfs::cli {

// The daemon's end. Used from one thread; only Listen blocks.
class ControlServer {
 public:
  // `device` is "major:minor". The kernel gives the number of an ended mount
  // away at once, and the daemon of that mount may need a moment to notice: a
  // name that is taken is tried for up to `wait`, then it is kAlreadyExists.
  static Result<ControlServer> Listen(const std::string& device,
                                      std::chrono::milliseconds wait);

  // Readable when Accept has something to do.
  int fd() const { return listener_.get(); }
  // Takes one waiting connection. True if it was of root or of the user that
  // runs the daemon: it asks to unmount. Others are cut.
  bool Accept();
  // Gives the name back; who has asked is still told. To be called before the
  // device number can go to another mount.
  void StopListening() { listener_ = fuse::FileDescriptor(); }
  // To all that asked. Who does not read loses the line, not the daemon's time.
  void Say(std::string_view text);
  // The verdict; closes all.
  void End(ExitCode code);

 private:
  explicit ControlServer(fuse::FileDescriptor listener)
      : listener_(std::move(listener)) {}
  void Send(const std::string& line);

  fuse::FileDescriptor listener_;
  std::vector<fuse::FileDescriptor> clients_;
};

// Asks the daemon of the mount with `device` to end, hands every line it says
// to `say`, and waits for the verdict. Blocks. kNotFound: nobody listens.
// kPermissionDenied: the mount is another user's. kUnavailable: the daemon went
// without a verdict.
Result<ExitCode> AskToUnmount(const std::string& device,
                              UniqueFunction<void(const std::string&)> say);

}  // namespace ckptfs::cli
