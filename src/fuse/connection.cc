#include "fuse/connection.h"

#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdio>
#include <string>

#include "common/log.h"
#include "fuse/operations.h"

namespace ckptfs::fuse {

namespace {

// libfuse writes to stderr unless it is given this.
void LogFromLibfuse(enum fuse_log_level level, const char* format, va_list ap) {
  char line[512];
  const int n = std::vsnprintf(line, sizeof line, format, ap);
  if (n <= 0) return;
  std::string text(line);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  Log(level <= FUSE_LOG_ERR      ? LogLevel::kError
      : level <= FUSE_LOG_NOTICE ? LogLevel::kWarning
                                 : LogLevel::kDebug,
      "libfuse: " + text);
}

}  // namespace

Result<std::shared_ptr<Connection>> Connection::Create(FileDescriptor device,
                                                       Executor& work) {
  fuse_set_log_func(&LogFromLibfuse);
  std::shared_ptr<Connection> connection(new Connection(work));
  char name[] = "ckptfs";
  char* argv[] = {name, nullptr};
  fuse_args args = FUSE_ARGS_INIT(1, argv);
  const fuse_lowlevel_ops ops = MakeOperations();
  connection->session_ =
      fuse_session_new(&args, &ops, sizeof ops, connection.get());
  fuse_opt_free_args(&args);
  if (connection->session_ == nullptr) {
    return Fail(ErrorCode::kInternal, "libfuse could not create a session");
  }
  // A device that is mounted already is given as "/dev/fd/N".
  const std::string path = "/dev/fd/" + std::to_string(device.get());
  if (fuse_session_mount(connection->session_, path.c_str()) != 0) {
    return Fail(ErrorCode::kInternal, "libfuse did not take the device");
  }
  device.release();  // closed by fuse_session_destroy
  return connection;
}

Connection::~Connection() {
  if (session_ != nullptr) fuse_session_destroy(session_);
}

void Connection::Disconnect() {
  fuse_session_exit(session_);
  // Not close(): an answer that is written at this moment would go to whatever
  // file gets the number next.
  const FileDescriptor null(open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null.valid() ||
      dup3(null.get(), fuse_session_fd(session_), O_CLOEXEC) < 0) {
    LogError(
        "cannot let go of the FUSE device; the mount ends with the "
        "process");
  }
}

}  // namespace ckptfs::fuse
