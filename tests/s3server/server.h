// Server: the listening socket and one thread for each connection. Everything
// the server holds lives as long as this object. Start, Stop and the accessors
// are for one owner thread.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <tl/expected.hpp>

#include "s3server/control_api.h"
#include "s3server/fault_plan.h"
#include "s3server/object_table.h"
#include "s3server/options.h"
#include "s3server/request_handler.h"
#include "s3server/s3_operations.h"
#include "s3server/statistics.h"
#include "s3server/tls.h"

namespace ckptfs::s3server {

class Server {
 public:
  explicit Server(Options options);
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server();  // stops

  // Listens and serves; the error says what could not be done.
  tl::expected<void, std::string> Start();
  // Closes all connections, also those with held or slow requests, and waits
  // for their threads.
  void Stop();

  std::uint16_t port() const { return port_; }
  // http://HOST:PORT, or https.
  std::string Url() const;

  // For tests in the same process.
  ObjectTable& table() { return table_; }
  FaultPlan& plan() { return plan_; }
  Statistics& statistics() { return statistics_; }

 private:
  struct Worker {
    int socket = -1;    // -1: closed; guarded by mu_
    bool done = false;  // guarded by mu_
    std::thread thread;
  };
  tl::expected<void, std::string> Listen();
  void AcceptLoop();
  void Serve(Worker* worker, int socket);
  void Reap();

  const Options options_;
  ObjectTable table_;
  FaultPlan plan_;
  Statistics statistics_;
  const SigV4Verifier verifier_;
  const S3Operations operations_;
  const ControlApi control_;
  Shared shared_;
  std::unique_ptr<TlsContext> tls_;
  int listener_ = -1;
  std::uint16_t port_ = 0;
  std::thread acceptor_;

  std::mutex mu_;
  bool stopping_ = false;      // guarded by mu_
  std::list<Worker> workers_;  // guarded by mu_; elements see above
};

}  // namespace ckptfs::s3server
