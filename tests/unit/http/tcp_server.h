// TcpServer: a server that does to each connection what the test says, byte by
// byte: for what no HTTP server does on demand.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace ckptfs {

// One connection, as its handler sees it. Blocking.
class TcpConnection {
 public:
  explicit TcpConnection(int fd) : fd_(fd) {}

  void Send(const std::string& text) {
    [[maybe_unused]] const ssize_t n =
        ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
  }
  // Up to `size` bytes; empty at the end.
  std::string Receive(std::size_t size = 65536) {
    std::string bytes(size, '\0');
    const ssize_t n = ::recv(fd_, bytes.data(), bytes.size(), 0);
    bytes.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return bytes;
  }
  // The head of a request; what follows it is dropped.
  std::string ReceiveHead() {
    std::string head;
    while (head.find("\r\n\r\n") == std::string::npos) {
      const std::string more = Receive();
      if (more.empty()) break;
      head += more;
    }
    return head;
  }

 private:
  int fd_;
};

// Listens on a free port of 127.0.0.1. Connections are handled one after the
// other, and closed when `handle` returns; the destructor waits for that.
class TcpServer {
 public:
  using Handle = std::function<void(TcpConnection&)>;

  // `receive_buffer`: SO_RCVBUF of each connection; 0: the default.
  explicit TcpServer(Handle handle, int receive_buffer = 0)
      : handle_(std::move(handle)),
        listener_(::socket(AF_INET, SOCK_STREAM, 0)) {
    if (receive_buffer > 0) {
      ::setsockopt(listener_, SOL_SOCKET, SO_RCVBUF, &receive_buffer,
                   sizeof receive_buffer);
    }
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    if (::bind(listener_, generic, length) != 0 ||
        ::listen(listener_, 16) != 0 ||
        ::getsockname(listener_, generic, &length) != 0) {
      return;
    }
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { Run(); });
  }
  ~TcpServer() {
    ::shutdown(listener_, SHUT_RDWR);  // wakes accept
    if (thread_.joinable()) thread_.join();
    ::close(listener_);
  }
  TcpServer(const TcpServer&) = delete;
  TcpServer& operator=(const TcpServer&) = delete;

  std::string url() const {
    return "http://127.0.0.1:" + std::to_string(port_);
  }

 private:
  void Run() {
    while (true) {
      const int fd = ::accept(listener_, nullptr, nullptr);
      if (fd < 0) return;
      TcpConnection connection(fd);
      handle_(connection);
      ::close(fd);
    }
  }

  const Handle handle_;
  const int listener_;
  std::uint16_t port_ = 0;
  std::thread thread_;
};

}  // namespace ckptfs
