// bare_socket: the least that can serve the load of http_load: it receives a
// fixed number of bytes, sends a fixed number, and looks at none of them. What
// it reaches is what the machine's loopback gives; a server is measured against
// it.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <thread>

namespace {

struct Plan {
  std::uint16_t port = 0;
  std::uint64_t request_bytes = 512;
  std::uint64_t reply_body_bytes = 0;
};

constexpr std::size_t kBufferBytes = 1 << 20;

bool ReceiveAll(int socket, char* buffer, std::uint64_t size) {
  while (size > 0) {
    const ssize_t n =
        ::recv(socket, buffer, std::min<std::uint64_t>(size, kBufferBytes), 0);
    if (n <= 0) return false;
    size -= static_cast<std::uint64_t>(n);
  }
  return true;
}

bool SendAll(int socket, const char* data, std::size_t size) {
  while (size > 0) {
    const ssize_t n = ::send(socket, data, size, MSG_NOSIGNAL);
    if (n <= 0) return false;
    data += n;
    size -= static_cast<std::size_t>(n);
  }
  return true;
}

void Serve(int socket, const Plan& plan) {
  const int on = 1;
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  const std::unique_ptr<char[]> buffer(new char[kBufferBytes]());
  const std::string head = "HTTP/1.1 200 OK\r\nContent-Length: " +
                           std::to_string(plan.reply_body_bytes) + "\r\n\r\n";
  while (ReceiveAll(socket, buffer.get(), plan.request_bytes) &&
         SendAll(socket, head.data(), head.size())) {
    bool sent = true;
    for (std::uint64_t left = plan.reply_body_bytes; left > 0 && sent;) {
      const auto run = std::min<std::uint64_t>(left, kBufferBytes);
      sent = SendAll(socket, buffer.get(), run);
      left -= run;
    }
    if (!sent) break;
  }
  ::close(socket);
}

}  // namespace

int main(int argc, char** argv) {
  Plan plan;
  CLI::App app(
      "Receives and sends fixed numbers of bytes, as a measure for servers.\n"
      "Prints 'listening http://127.0.0.1:PORT'; runs until it is ended.");
  app.add_option("--port", plan.port, "Port; 0 takes a free one")
      ->capture_default_str();
  app.add_option("--request-bytes", plan.request_bytes,
                 "Bytes of a request, head and body")
      ->capture_default_str();
  app.add_option("--reply-body-bytes", plan.reply_body_bytes,
                 "Bytes of a reply's body")
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);

  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(plan.port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  if (listener < 0 ||
      ::bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::listen(listener, SOMAXCONN) != 0 ||
      ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) !=
          0) {
    std::perror("bare_socket");
    return 1;
  }
  std::printf("listening http://127.0.0.1:%d\n", ntohs(address.sin_port));
  std::fflush(stdout);
  while (true) {
    const int socket = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (socket < 0) {
      std::perror("bare_socket: accept");
      return 1;
    }
    std::thread([socket, plan] { Serve(socket, plan); }).detach();
  }
}
