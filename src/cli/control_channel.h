// The line between `ckptfs umount` and the daemon of a mount: a stream socket
// in the abstract namespace, named after the device number of the mount, which
// is unique among live mounts and is read from /proc/self/mountinfo without
// touching the mount. It leaves no file behind however the daemon ends.
//
// Anybody may take such a name. So the kernel's word counts for who is at the
// other end, and for whose the mount is; where a stranger holds the name, the
// daemon takes the next of a few, and umount does not hear the stranger.
//
// A connection is the request to drain and unmount; the daemon reads nothing.
// It answers with lines "say TEXT" and at last "end CODE", then closes. In TEXT
// a line break is \n and a backslash \\.
#pragma once

#include <sys/types.h>

#include <ckptfs/result.h>
#include <ckptfs/unique_function.h>

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "cli/exit_code.h"
#include "fuse/mount_device.h"

namespace ckptfs::cli {

// How many names a mount has: "ckptfs/MAJOR:MINOR", then with "/1" to "/15".
inline constexpr int kControlNames = 16;
std::string ControlName(const std::string& device, int index);

// The daemon's end. Used from one thread; only Listen blocks.
class ControlServer {
 public:
  // `device` is "major:minor". The kernel gives the number of an ended mount
  // away at once, and the daemon of that mount may need a moment to notice: a
  // name that a daemon of this user or of root has is tried for up to `wait`,
  // then it is kAlreadyExists. So it is where strangers have all names.
  static Result<ControlServer> Listen(const std::string& device,
                                      std::chrono::milliseconds wait);

  // Readable when Accept has something to do.
  int fd() const { return listener_.get(); }
  // Takes one waiting connection. True if it was of root or of the user that
  // runs the daemon: it asks to unmount. Others are cut. The first is taken
  // even if the process has no descriptor left.
  bool Accept();
  // The last Accept lacked a descriptor or memory: fd() stays readable, and
  // there is nothing to do but to try again later.
  bool exhausted() const { return exhausted_; }
  // Gives the name back; who has asked is still told. To be called before the
  // device number can go to another mount.
  void StopListening() { listener_ = fuse::FileDescriptor(); }
  // To all that asked. Who does not read loses the line, not the daemon's time.
  void Say(std::string_view text);
  // The verdict; closes all.
  void End(ExitCode code);

 private:
  explicit ControlServer(fuse::FileDescriptor listener);
  fuse::FileDescriptor TakeConnection() const;
  void Send(const std::string& line);

  fuse::FileDescriptor listener_;
  // Given up for a connection where there is no other.
  fuse::FileDescriptor spare_;
  bool exhausted_ = false;
  std::vector<fuse::FileDescriptor> clients_;
};

// Asks the daemon of the mount with `device`, which `owner` made, to end, hands
// every line it says to `say`, and waits for the verdict. Blocks. Only `owner`
// and root are heard. kNotFound: neither listens. kPermissionDenied: the caller
// is neither of them. kUnavailable: the daemon went without a verdict, or what
// it says is none.
Result<ExitCode> AskToUnmount(const std::string& device, uid_t owner,
                              UniqueFunction<void(const std::string&)> say);

}  // namespace ckptfs::cli
