#include "cli/background.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <system_error>
#include <utility>

namespace ckptfs::cli {

namespace {

std::string Reason(int error) { return std::generic_category().message(error); }

void PrintLine(std::string line) {
  std::replace(line.begin(), line.end(), '\n', ' ');
  std::fprintf(stderr, "ckptfs: %s\n", line.c_str());
}

// The parent's part: one byte of exit code, then the message.
ExitCode WaitForReport(pid_t child, int pipe) {
  std::string text;
  char buffer[512];
  for (;;) {
    const ssize_t n = ::read(pipe, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    text.append(buffer, static_cast<std::size_t>(n));
  }
  if (!text.empty()) {
    const auto code = static_cast<ExitCode>(text[0]);
    if (text.size() > 1) PrintLine(text.substr(1));
    return code;
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  PrintLine("the daemon died while it started" +
            (WIFSIGNALED(status)
                 ? " (signal " + std::to_string(WTERMSIG(status)) + ")"
                 : std::string()) +
            "; see its log, or use --foreground");
  return ExitCode::kOther;
}

// The child's part. `pipe` keeps its number.
Result<void> Detach(int pipe, const std::string& log_file) {
  if (::setsid() < 0 || ::chdir("/") != 0) {
    return Fail(ErrorCode::kInternal, "cannot detach: " + Reason(errno));
  }
  {
    const fuse::FileDescriptor null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    // What the C++ runtime or a sanitizer says last belongs into the log.
    const fuse::FileDescriptor log(::open(
        log_file.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644));
    if (!log.valid()) {
      return Fail(
          ErrorCode::kInvalidArgument,
          "cannot open the log file " + log_file + ": " + Reason(errno));
    }
    if (!null.valid() || ::dup2(null.get(), STDIN_FILENO) < 0 ||
        ::dup2(null.get(), STDOUT_FILENO) < 0 ||
        ::dup2(log.get(), STDERR_FILENO) < 0) {
      return Fail(ErrorCode::kInternal, "cannot detach: " + Reason(errno));
    }
  }
  // Inherited descriptors would keep files, pipes and mounts of the caller
  // busy for as long as the mount lives.
  for (int fd = STDERR_FILENO + 1; fd < pipe; ++fd) ::close(fd);
  ::closefrom(pipe + 1);
  return {};
}

}  // namespace

bool StartReport::Send(ExitCode code, const std::string& line) {
  // Whole in one write: shorter than PIPE_BUF.
  std::string text(1, static_cast<char>(code));
  text += line.substr(0, 2000);
  ssize_t n;
  do {
    n = ::write(pipe_.get(), text.data(), text.size());
  } while (n < 0 && errno == EINTR);
  pipe_ = fuse::FileDescriptor();
  return n == static_cast<ssize_t>(text.size());
}

bool StartReport::Succeeded() {
  return !pipe_.valid() || Send(ExitCode::kSuccess, "");
}

ExitCode StartReport::Failed(ExitCode code, const std::string& line) {
  if (pipe_.valid()) {
    Send(code, line);
  } else {
    PrintLine(line);
  }
  return code;
}

Result<ForkResult> ForkToBackground(const std::string& log_file) {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) {
    return Fail(ErrorCode::kInternal, "cannot make a pipe: " + Reason(errno));
  }
  fuse::FileDescriptor read_end(fds[0]);
  fuse::FileDescriptor write_end(fds[1]);
  const pid_t child = ::fork();
  if (child < 0) {
    return Fail(ErrorCode::kInternal, "cannot fork: " + Reason(errno));
  }
  ForkResult result;
  if (child > 0) {
    write_end = fuse::FileDescriptor();
    result.is_parent = true;
    result.code = WaitForReport(child, read_end.get());
    return result;
  }
  read_end = fuse::FileDescriptor();
  result.report = StartReport(std::move(write_end));
  const Result<void> detached = Detach(fds[1], log_file);
  if (!detached.has_value()) {
    // The parent prints it; the child must not.
    const ExitCode code = detached.error().code() == ErrorCode::kInvalidArgument
                              ? ExitCode::kUsage
                              : ExitCode::kOther;
    ::_exit(static_cast<int>(
        result.report.Failed(code, detached.error().message())));
  }
  return result;
}

}  // namespace ckptfs::cli
