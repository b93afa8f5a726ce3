#include "fuse/mount_device.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <vector>

#include "fuse/mount_table.h"

extern char** environ;

namespace ckptfs::fuse {

namespace {

constexpr char kDevice[] = "/dev/fuse";
constexpr char kHelper[] = "fusermount3";

std::string Reason(int error) { return std::generic_category().message(error); }

bool IsFuseType(const std::string& type) {
  return type == "fuse" || type.starts_with("fuse.");
}

// fusermount3 splits its options at commas.
std::string EscapeOption(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == ',' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

// The kernel's word for a mount without the setuid bit on fusermount3's side.
bool FuseConfAllowsOther() {
  std::ifstream file("/etc/fuse.conf");
  std::string line;
  while (std::getline(file, line)) {
    const std::size_t first = line.find_first_not_of(" \t");
    const std::size_t last = line.find_last_not_of(" \t\r");
    if (first != std::string::npos &&
        line.substr(first, last - first + 1) == "user_allow_other") {
      return true;
    }
  }
  return false;
}

struct HelperResult {
  int exit_code = -1;
  std::string messages;  // its stderr, one line
};

// Runs fusermount3 with `arguments`; `pass_fd` (or -1) is inherited under the
// same number. kNotFound if it is not installed.
Result<HelperResult> RunHelper(std::vector<std::string> arguments,
                               int pass_fd) {
  int pipe_fds[2];
  if (pipe2(pipe_fds, O_CLOEXEC) != 0) {
    return Fail(ErrorCode::kInternal, "cannot create a pipe: " + Reason(errno));
  }
  FileDescriptor read_end(pipe_fds[0]);
  FileDescriptor write_end(pipe_fds[1]);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, write_end.get(), STDERR_FILENO);
  std::vector<std::string> environment;
  for (char** e = environ; *e != nullptr; ++e) environment.emplace_back(*e);
  if (pass_fd >= 0) {
    // dup2 onto itself clears close-on-exec in posix_spawn (POSIX.1-2024).
    posix_spawn_file_actions_adddup2(&actions, pass_fd, pass_fd);
    environment.push_back("_FUSE_COMMFD=" + std::to_string(pass_fd));
  }
  arguments.insert(arguments.begin(), kHelper);
  std::vector<char*> argv, envp;
  for (std::string& a : arguments) argv.push_back(a.data());
  for (std::string& e : environment) envp.push_back(e.data());
  argv.push_back(nullptr);
  envp.push_back(nullptr);

  pid_t pid = 0;
  const int error =
      posix_spawnp(&pid, kHelper, &actions, nullptr, argv.data(), envp.data());
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    return Fail(ErrorCode::kNotFound,
                std::string("cannot run ") + kHelper + " (" + Reason(error) +
                    "); install the package fuse3, or mount as root");
  }
  write_end.Close();

  HelperResult result;
  char buffer[512];
  ssize_t n;
  while ((n = read(read_end.get(), buffer, sizeof buffer)) > 0 ||
         (n < 0 && errno == EINTR)) {
    if (n > 0) result.messages.append(buffer, static_cast<std::size_t>(n));
  }
  while (!result.messages.empty() && result.messages.back() == '\n') {
    result.messages.pop_back();
  }
  for (char& c : result.messages) {
    if (c == '\n') c = ';';
  }
  int status = 0;
  pid_t reaped;
  do {
    reaped = waitpid(pid, &status, 0);
  } while (reaped < 0 && errno == EINTR);
  // Not reaped: somebody ignores SIGCHLD for us. Nothing is known then.
  if (reaped == pid && WIFEXITED(status)) {
    result.exit_code = WEXITSTATUS(status);
  }
  return result;
}

std::optional<FileDescriptor> ReceiveDescriptor(int socket) {
  char byte = 0;
  iovec iov{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr message{};
  message.msg_iov = &iov;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t n;
  do {
    n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (n < 0 && errno == EINTR);
  if (n <= 0) return std::nullopt;
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr;
       c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(c), sizeof fd);
      return FileDescriptor(fd);
    }
  }
  return std::nullopt;
}

Result<FileDescriptor> MountByHelper(const MountRequest& request) {
  if (request.allow_other && geteuid() != 0 && !FuseConfAllowsOther()) {
    return Fail(ErrorCode::kPermissionDenied,
                "--allow-other is refused to users: add the line "
                "user_allow_other to /etc/fuse.conf, or mount as root");
  }
  int sockets[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0) {
    return Fail(ErrorCode::kInternal,
                "cannot create a socket pair: " + Reason(errno));
  }
  FileDescriptor ours(sockets[0]);
  FileDescriptor theirs(sockets[1]);
  std::string options = "default_permissions,nosuid,nodev,subtype=ckptfs";
  if (request.read_only) options += ",ro";
  if (request.allow_other) options += ",allow_other";
  options += ",fsname=" + EscapeOption(request.source);

  Result<HelperResult> helper =
      RunHelper({"-o", options, "--", request.mount_point}, theirs.get());
  if (!helper.has_value()) return Fail(helper.error());
  theirs.Close();
  std::optional<FileDescriptor> device;
  if (helper->exit_code == 0) device = ReceiveDescriptor(ours.get());
  if (!device.has_value()) {
    return Fail(ErrorCode::kPermissionDenied,
                "cannot mount on " + request.mount_point + ": " +
                    (helper->messages.empty() ? std::string(kHelper) + " failed"
                                              : helper->messages));
  }
  return *std::move(device);
}

}  // namespace

Result<std::string> CheckMountPoint(const std::string& mount_point) {
  std::error_code ec;
  std::filesystem::path path = std::filesystem::absolute(mount_point, ec);
  path = path.lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  // Before any stat(), which hangs on a mount whose daemon does not answer.
  const std::optional<MountEntry> before = FindMount(path.native());
  if (before.has_value() && IsFuseType(before->type)) {
    return Fail(ErrorCode::kConflict,
                path.native() + " is already a mount of " + before->source +
                    " (" + before->type +
                    "); unmount it first with ckptfs "
                    "umount " +
                    path.native() +
                    " (fusermount3 -u -z if its daemon is gone)");
  }
  struct stat st{};
  if (stat(path.c_str(), &st) != 0) {
    switch (errno) {
      case ENOENT:
        return Fail(ErrorCode::kNotFound,
                    "the mount point " + path.native() +
                        " does not exist; create it with mkdir -p");
      case ENOTDIR:
        return Fail(ErrorCode::kNotDirectory, "a part of the mount point " +
                                                  path.native() +
                                                  " is not a directory");
      case ENOTCONN:
        return Fail(ErrorCode::kConflict,
                    path.native() +
                        " is or lies in a FUSE mount whose daemon is gone; "
                        "remove it with fusermount3 -u -z");
      case EACCES:
        return Fail(ErrorCode::kPermissionDenied,
                    "the mount point " + path.native() +
                        " cannot be reached: permission denied");
      default:
        return Fail(ErrorCode::kInternal, "cannot look at the mount point " +
                                              path.native() + ": " +
                                              Reason(errno));
    }
  }
  if (!S_ISDIR(st.st_mode)) {
    return Fail(ErrorCode::kNotDirectory,
                "the mount point " + path.native() + " is not a directory");
  }
  // Symbolic links are resolved: /proc/self/mountinfo names the target.
  std::filesystem::path real = std::filesystem::canonical(path, ec);
  if (ec) real = path;
  const std::optional<MountEntry> there = FindMount(real.native());
  if (there.has_value() && IsFuseType(there->type)) {
    return Fail(ErrorCode::kConflict,
                path.native() + " is already a mount of " + there->source +
                    "; unmount it first with ckptfs umount " + real.native());
  }
  return real.native();
}

Result<FileDescriptor> MountFuse(const MountRequest& request) {
  FileDescriptor device(open(kDevice, O_RDWR | O_CLOEXEC));
  if (!device.valid()) {
    const int error = errno;
    if (error == ENOENT || error == ENODEV || error == ENXIO) {
      return Fail(ErrorCode::kUnsupported,
                  std::string("there is no ") + kDevice +
                      ": load the kernel module with modprobe fuse; in a "
                      "container, add --device /dev/fuse --cap-add SYS_ADMIN");
    }
    // fusermount3 is set-uid where users may mount at all.
    if (error == EACCES && geteuid() != 0) return MountByHelper(request);
    const std::string what =
        std::string("cannot open ") + kDevice + ": " + Reason(error);
    if (error != EACCES && error != EPERM) {
      return Fail(ErrorCode::kInternal, what);
    }
    return Fail(ErrorCode::kPermissionDenied,
                what + "; in a container, add --device /dev/fuse");
  }
  std::string data = "fd=" + std::to_string(device.get()) +
                     ",rootmode=40000,user_id=" + std::to_string(getuid()) +
                     ",group_id=" + std::to_string(getgid()) +
                     ",default_permissions";
  if (request.allow_other) data += ",allow_other";
  unsigned long flags = MS_NOSUID | MS_NODEV;
  if (request.read_only) flags |= MS_RDONLY;
  if (mount(request.source.c_str(), request.mount_point.c_str(), "fuse.ckptfs",
            flags, data.c_str()) == 0) {
    return device;
  }
  const int error = errno;
  if (error == EPERM && geteuid() != 0) return MountByHelper(request);
  const std::string what =
      "cannot mount on " + request.mount_point + ": " + Reason(error);
  switch (error) {
    case EPERM:
    case EACCES:
      return Fail(ErrorCode::kPermissionDenied,
                  what +
                      "; mounting needs CAP_SYS_ADMIN (in a container, add "
                      "--cap-add SYS_ADMIN)");
    case ENODEV:
      return Fail(ErrorCode::kUnsupported,
                  what + "; this kernel has no FUSE (modprobe fuse)");
    case EBUSY: return Fail(ErrorCode::kConflict, what);
    default: return Fail(ErrorCode::kInternal, what);
  }
}

Result<void> UnmountFuse(const std::string& mount_point, bool lazy,
                         bool forced) {
  // MNT_FORCE ends every request that is still unanswered. Without it a caller
  // in mkdir or create keeps the directory's lock, a notification of ours waits
  // for that lock inside the kernel, and the daemon can never end.
  const int flags =
      UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0) | (forced ? MNT_FORCE : 0);
  if (umount2(mount_point.c_str(), flags) == 0) return {};
  const int error = errno;
  const std::string what =
      "cannot unmount " + mount_point + ": " + Reason(error);
  if (error == EBUSY) {
    return Fail(ErrorCode::kConflict,
                what + "; close the files and leave the directories below it");
  }
  if (error != EPERM) return Fail(ErrorCode::kInternal, what);
  if (geteuid() == 0) return Fail(ErrorCode::kPermissionDenied, what);
  std::vector<std::string> arguments = {"-u"};
  if (lazy) arguments.push_back("-z");
  arguments.insert(arguments.end(), {"--", mount_point});
  Result<HelperResult> helper = RunHelper(std::move(arguments), -1);
  if (!helper.has_value()) return Fail(helper.error());
  if (helper->exit_code == 0) return {};
  // fusermount3 has one exit code for everything; the commonest reason by far
  // is that the mount is in use.
  return Fail(ErrorCode::kConflict,
              "cannot unmount " + mount_point + ": " + helper->messages);
}

}  // namespace ckptfs::fuse
