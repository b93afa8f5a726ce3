#include "s3server/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <exception>

namespace ckptfs::s3server {
namespace {

// Freed bodies that are kept for the next uploads.
constexpr std::size_t kIdleBufferBytes = 256 << 20;

// Under a limit the kernel must not swallow megabytes at full speed first.
constexpr int kPacedSocketBytes = 128 << 10;

std::string Errno(const std::string& what) {
  return what + ": " + std::strerror(errno);
}

}  // namespace

Server::Server(Options options)
    : options_(std::move(options)),
      table_({.min_part_bytes = options_.min_part_bytes,
              .opaque_etags = options_.bench || options_.discard_bodies,
              .rebase_patterns = options_.discard_bodies}),
      verifier_(options_.credentials, options_.region),
      operations_(table_, {options_.region, options_.deny_list}),
      control_(table_, plan_, statistics_),
      shared_{options_,    table_,   plan_,     statistics_,
              operations_, control_, verifier_, nullptr} {
  shared_.pool = std::make_shared<BufferPool>(kIdleBufferBytes);
  for (const std::string& bucket : options_.buckets) {
    table_.CreateBucket(bucket);
  }
  plan_.latency_ms = options_.latency_ms;
  plan_.conn_bytes_per_s = std::llround(options_.conn_mibs * (1 << 20));
  plan_.clock_offset_s = options_.clock_offset_s;
}

Server::~Server() { Stop(); }

std::string Server::Url() const {
  const bool v6 = options_.host.find(':') != std::string::npos;
  return std::string(options_.tls() ? "https://" : "http://") +
         (v6 ? "[" + options_.host + "]" : options_.host) + ":" +
         std::to_string(port_);
}

tl::expected<void, std::string> Server::Start() {
  for (const std::string& text : options_.faults) {
    const auto parameters = ParseQuery(text);
    const auto added =
        parameters ? plan_.Add(*parameters)
                   : tl::expected<int, std::string>(
                         tl::unexpected(std::string("not a query string")));
    if (!added) {
      return tl::unexpected("--fault '" + text + "': " + added.error());
    }
  }
  if (options_.tls()) {
    std::string cert = options_.tls_cert;
    std::string key = options_.tls_key;
    if (!options_.tls_self_signed.empty()) {
      const auto written = WriteSelfSigned(options_.tls_self_signed);
      if (!written) return tl::unexpected(written.error());
      cert = options_.tls_self_signed + "/cert.pem";
      key = options_.tls_self_signed + "/key.pem";
    }
    auto context = TlsContext::FromFiles(cert, key);
    if (!context) return tl::unexpected(context.error());
    tls_ = std::move(*context);
  }
  if (auto listening = Listen(); !listening) return listening;
  acceptor_ = std::thread([this] { AcceptLoop(); });
  return {};
}

tl::expected<void, std::string> Server::Listen() {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error =
      ::getaddrinfo(options_.host.c_str(),
                    std::to_string(options_.port).c_str(), &hints, &found);
  if (error != 0) {
    return tl::unexpected(options_.host + ": " + ::gai_strerror(error));
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> address(
      found, &::freeaddrinfo);
  listener_ = ::socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (listener_ < 0) return tl::unexpected(Errno("socket"));
  const int on = 1;
  ::setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (::bind(listener_, address->ai_addr, address->ai_addrlen) != 0 ||
      ::listen(listener_, SOMAXCONN) != 0) {
    return tl::unexpected(
        Errno(options_.host + ":" + std::to_string(options_.port)));
  }
  sockaddr_storage bound{};
  socklen_t size = sizeof(bound);
  if (::getsockname(listener_, reinterpret_cast<sockaddr*>(&bound), &size) !=
      0) {
    return tl::unexpected(Errno("getsockname"));
  }
  port_ = ntohs(bound.ss_family == AF_INET6
                    ? reinterpret_cast<sockaddr_in6*>(&bound)->sin6_port
                    : reinterpret_cast<sockaddr_in*>(&bound)->sin_port);
  return {};
}

void Server::AcceptLoop() {
  while (true) {
    const int socket = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (socket < 0) {
      const int error = errno;
      {
        std::lock_guard lock(mu_);
        if (stopping_) return;
      }
      if (error == EINTR || error == ECONNABORTED) continue;
      // Out of descriptors or memory: others must end first.
      std::fprintf(stderr, "s3server: accept: %s\n", std::strerror(error));
      if (!plan_.Sleep(std::chrono::milliseconds(50))) return;
      continue;
    }
    const int on = 1;
    ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (plan_.conn_bytes_per_s.load() > 0) {
      ::setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &kPacedSocketBytes,
                   sizeof(kPacedSocketBytes));
      ::setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &kPacedSocketBytes,
                   sizeof(kPacedSocketBytes));
    }
    Reap();
    std::lock_guard lock(mu_);
    if (stopping_) {
      ::close(socket);
      return;
    }
    Worker& worker = workers_.emplace_back();
    worker.socket = socket;
    worker.thread =
        std::thread([this, &worker, socket] { Serve(&worker, socket); });
  }
}

void Server::Serve(Worker* worker, int socket) {
  statistics_.ConnectionOpened();
  try {
    std::unique_ptr<Stream> stream;
    if (tls_) {
      stream = tls_->Accept(socket);
    } else {
      stream = std::make_unique<PlainStream>(socket);
    }
    if (stream) {
      HttpConnection connection(socket, *stream, plan_, shared_.pool);
      if (RequestHandler(shared_, connection).ServeAll()) stream->Finish();
    }
  } catch (const std::exception& error) {
    // No memory for a body, or no OpenSSL: this connection ends, others go on.
    std::fprintf(stderr, "s3server: connection ended: %s\n", error.what());
  }
  statistics_.ConnectionClosed();
  std::lock_guard lock(mu_);
  ::close(socket);
  worker->socket = -1;
  worker->done = true;
}

// Joins the threads of connections that ended.
void Server::Reap() {
  std::list<Worker> ended;
  {
    std::lock_guard lock(mu_);
    for (auto it = workers_.begin(); it != workers_.end();) {
      const auto next = std::next(it);
      if (it->done) ended.splice(ended.end(), workers_, it);
      it = next;
    }
  }
  for (Worker& worker : ended) worker.thread.join();
}

void Server::Stop() {
  {
    std::lock_guard lock(mu_);
    stopping_ = true;
    for (const Worker& worker : workers_) {
      if (worker.socket >= 0) ::shutdown(worker.socket, SHUT_RDWR);
    }
  }
  plan_.Stop();
  if (listener_ >= 0) ::shutdown(listener_, SHUT_RDWR);  // wakes accept
  if (acceptor_.joinable()) acceptor_.join();
  // Nothing is added any more; each thread still takes mu_ to say it is done.
  for (Worker& worker : workers_) worker.thread.join();
  workers_.clear();
  if (listener_ >= 0) ::close(listener_);
  listener_ = -1;
}

}  // namespace ckptfs::s3server
