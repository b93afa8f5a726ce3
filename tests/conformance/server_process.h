// ServerProcess: the in-tree S3 server, run by a test, with its faults.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "http/curl_transport.h"

namespace ckptfs::test {

// Starts the program and waits until it listens; the destructor ends it. Uses
// a free port. Blocks; for one thread.
class ServerProcess {
 public:
  explicit ServerProcess(std::vector<std::string> options = {});
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  bool started() const { return !url_.empty(); }
  const std::string& url() const { return url_; }
  // POST /_control/`command`; the test fails unless it is answered with 200.
  std::string Post(const std::string& command);
  std::string Get(const std::string& query);

 private:
  std::string Control(const std::string& method, const std::string& command);

  pid_t pid_ = -1;
  std::string url_;
  std::unique_ptr<CurlTransport> transport_ =
      *CurlTransport::Create({1, 4, ""});
};

// The server's program: CKPTFS_S3SERVER, or the one of this build. Empty if
// there is none.
std::string ServerProgram();

}  // namespace ckptfs::test
