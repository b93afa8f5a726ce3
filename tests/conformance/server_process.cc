#include "conformance/server_process.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <utility>

namespace ckptfs::test {

std::string ServerProgram() {
  const char* chosen = std::getenv("CKPTFS_S3SERVER");
  if (chosen != nullptr) return chosen;
#ifdef CKPTFS_S3SERVER_PROGRAM
  return CKPTFS_S3SERVER_PROGRAM;
#else
  return "";
#endif
}

ServerProcess::ServerProcess(std::vector<std::string> options) {
  std::vector<std::string> args = {ServerProgram(), "--bucket", "bucket",
                                   "--access-key",  "test",     "--secret-key",
                                   "testtesttest"};
  args.insert(args.end(), options.begin(), options.end());
  std::vector<char*> argv;
  for (std::string& a : args) argv.push_back(a.data());
  argv.push_back(nullptr);
  int pipe_fds[2];
  if (pipe(pipe_fds) != 0) return;
  pid_ = fork();
  if (pid_ == 0) {
    dup2(pipe_fds[1], STDOUT_FILENO);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    execv(argv[0], argv.data());
    _exit(127);
  }
  close(pipe_fds[1]);
  std::string line;
  char c;
  while (read(pipe_fds[0], &c, 1) == 1 && c != '\n') line += c;
  close(pipe_fds[0]);
  const std::string prefix = "listening ";
  if (line.starts_with(prefix)) url_ = line.substr(prefix.size());
}

ServerProcess::~ServerProcess() {
  if (pid_ <= 0) return;
  kill(pid_, SIGTERM);
  waitpid(pid_, nullptr, 0);
}

std::string ServerProcess::Control(const std::string& method,
                                   const std::string& command) {
  HttpRequest request;
  request.method = method;
  request.url = url_ + "/_control/" + command;
  Result<HttpResponse> response = transport_->Send(std::move(request)).Get();
  EXPECT_TRUE(response.has_value() && response->status == 200)
      << command << ": " << response->status << " " << response->body
      << response->failure_text;
  return response->body;
}

std::string ServerProcess::Post(const std::string& command) {
  return Control("POST", command);
}
std::string ServerProcess::Get(const std::string& query) {
  return Control("GET", query);
}

}  // namespace ckptfs::test
