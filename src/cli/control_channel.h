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

#include <string>
#include <string_view>
#include <vector>

#include "cli/exit_code.h"
#include "fuse/mount_device.h"

namespace ckptfs::cli {

// The daemon's end. Used from one thread; never blocks.
class ControlServer {
 public:
  // `device` is "major:minor". kAlreadyExists if somebody holds the name.
  static Result<ControlServer> Listen(const std::string& device);

  // Readable when Accept has something to do.
  int fd() const { return listener_.get(); }
  // Takes one waiting connection. True if it was of root or of the user that
  // runs the daemon: it asks to unmount. Others are cut.
  bool Accept();
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
