// The s3server program.
#include <signal.h>

#include <cstdio>

#include "s3server/server.h"

int main(int argc, char** argv) {
  using namespace ckptfs::s3server;
  CommandLine command = ParseCommandLine(argc, argv);
  if (!command.options) return command.exit_code;

  // Blocked before any thread starts, so that only sigwait sees them.
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGTERM);
  ::sigaddset(&signals, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  // OpenSSL writes to sockets without MSG_NOSIGNAL.
  ::signal(SIGPIPE, SIG_IGN);

  Server server(std::move(*command.options));
  if (const auto started = server.Start(); !started) {
    std::fprintf(stderr, "s3server: %s\n", started.error().c_str());
    return 1;
  }
  std::printf("listening %s\n", server.Url().c_str());
  std::fflush(stdout);
  int received = 0;
  ::sigwait(&signals, &received);
  server.Stop();
  return 0;
}
