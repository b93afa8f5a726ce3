// http_load: a load generator that sends one fixed request over and over, on
// several connections, and reads replies without looking further than their
// Content-Length. It measures servers, not clients: it does as little as the
// wire allows.
//
// The request's head is padded to a fixed size (--head-bytes), so that
// bare_socket, which does not parse, can serve the same load.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

struct Plan {
  std::string host = "127.0.0.1";
  std::uint16_t port = 0;
  std::string mode = "get";
  std::string path = "/bucket/object";
  std::uint64_t body_bytes = 8 << 20;
  std::size_t head_bytes = 512;
  int connections = 4;
  double seconds = 2;
};

std::runtime_error Failure(const std::string& what) {
  return std::runtime_error(what + ": " + std::strerror(errno));
}

// One connection; used by one thread. Errors are thrown: a load with errors
// measures nothing.
class Connection {
 public:
  explicit Connection(const Plan& plan)
      : plan_(plan),
        buffer_(new char[kBufferBytes]),
        socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    if (socket_ < 0) throw Failure("socket");
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(plan.port);
    const int on = 1;
    ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (::inet_pton(AF_INET, plan.host.c_str(), &address.sin_addr) != 1 ||
        ::connect(socket_, reinterpret_cast<sockaddr*>(&address),
                  sizeof(address)) != 0) {
      const std::runtime_error failure = Failure("connect");
      ::close(socket_);
      throw failure;
    }
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() { ::close(socket_); }

  // Sends `head` and, if not null, plan.body_bytes of `body`; reads the reply.
  // Returns the reply's body size.
  std::uint64_t Exchange(const std::string& head, const char* body) {
    SendAll(head.data(), head.size());
    if (body) SendAll(body, plan_.body_bytes);
    return ReadReply();
  }

  // The body of the last reply, if it was small.
  const std::string& small_body() const { return small_body_; }

 private:
  static constexpr std::size_t kBufferBytes = 1 << 20;

  void SendAll(const char* data, std::size_t size) {
    while (size > 0) {
      const ssize_t n = ::send(socket_, data, size, MSG_NOSIGNAL);
      if (n <= 0) throw Failure("send");
      data += n;
      size -= static_cast<std::size_t>(n);
    }
  }

  std::uint64_t ReadReply() {
    std::size_t have = 0;
    char* head_end = nullptr;
    while (!head_end) {
      const ssize_t n =
          ::recv(socket_, buffer_.get() + have, kBufferBytes - 1 - have, 0);
      if (n <= 0) throw Failure("recv of a reply's head");
      have += static_cast<std::size_t>(n);
      head_end =
          static_cast<char*>(::memmem(buffer_.get(), have, "\r\n\r\n", 4));
    }
    *head_end = '\0';
    const char* length = ::strcasestr(buffer_.get(), "\r\ncontent-length:");
    if (std::strncmp(buffer_.get(), "HTTP/1.1 2", 10) != 0 || !length) {
      throw std::runtime_error(std::string("the server answered: ") +
                               buffer_.get());
    }
    const std::uint64_t size = std::strtoull(length + 17, nullptr, 10);
    const char* body = head_end + 4;
    std::uint64_t done = have - static_cast<std::size_t>(body - buffer_.get());
    small_body_.assign(body, done);
    while (done < size) {
      const ssize_t n =
          ::recv(socket_, buffer_.get(),
                 std::min<std::uint64_t>(kBufferBytes, size - done), 0);
      if (n <= 0) throw Failure("recv of a reply's body");
      done += static_cast<std::uint64_t>(n);
    }
    return size;
  }

  const Plan& plan_;
  const std::unique_ptr<char[]> buffer_;
  const int socket_;
  std::string small_body_;
};

// A head of exactly plan.head_bytes.
std::string MakeHead(const Plan& plan, const std::string& method,
                     const std::string& target, const std::string& more) {
  std::string head = method + " " + target + " HTTP/1.1\r\nHost: " + plan.host +
                     ":" + std::to_string(plan.port) + "\r\n" + more +
                     "X-Pad: ";
  if (head.size() + 4 > plan.head_bytes) {
    throw std::runtime_error("--head-bytes is too small");
  }
  head.append(plan.head_bytes - 4 - head.size(), 'p');
  return head + "\r\n\r\n";
}

std::string LengthHeader(std::uint64_t size) {
  return "Content-Length: " + std::to_string(size) + "\r\n";
}

// The upload whose parts mode "parts" sends.
std::string CreateUpload(const Plan& plan) {
  Connection connection(plan);
  connection.Exchange(
      MakeHead(plan, "POST", plan.path + "?uploads", LengthHeader(0)), nullptr);
  const std::string& body = connection.small_body();
  const std::size_t begin = body.find("<UploadId>");
  const std::size_t end = body.find("</UploadId>");
  if (begin == std::string::npos || end == std::string::npos) {
    throw std::runtime_error("no UploadId in: " + body);
  }
  return body.substr(begin + 10, end - begin - 10);
}

// The head that connection number `index` sends.
std::string HeadOf(const Plan& plan, int index, const std::string& upload) {
  const std::string number = std::to_string(index + 1);
  if (plan.mode == "get") {
    // Each connection its own range, as parallel readers of an object do.
    const std::uint64_t first =
        static_cast<std::uint64_t>(index) * plan.body_bytes;
    return MakeHead(plan, "GET", plan.path,
                    "Range: bytes=" + std::to_string(first) + "-" +
                        std::to_string(first + plan.body_bytes - 1) + "\r\n");
  }
  const std::string target =
      plan.mode == "parts"
          ? plan.path + "?partNumber=" + number + "&uploadId=" + upload
          : plan.path + number;
  return MakeHead(plan, "PUT", target, LengthHeader(plan.body_bytes));
}

double Run(const Plan& plan) {
  const bool sends = plan.mode != "get";
  const std::string upload = plan.mode == "parts" ? CreateUpload(plan) : "";
  std::vector<char> body;
  if (sends) body.assign(plan.body_bytes, 'b');

  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  const auto end = start + std::chrono::duration_cast<Clock::duration>(
                               std::chrono::duration<double>(plan.seconds));
  std::atomic<std::uint64_t> moved{0};
  std::atomic<bool> failed{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < plan.connections; ++i) {
    threads.emplace_back([&, i] {
      try {
        Connection connection(plan);
        const std::string head = HeadOf(plan, i, upload);
        while (Clock::now() < end && !failed) {
          const std::uint64_t received =
              connection.Exchange(head, sends ? body.data() : nullptr);
          if (!sends && received != plan.body_bytes) {
            throw std::runtime_error("a reply of the wrong size");
          }
          moved += plan.body_bytes;
        }
      } catch (const std::exception& error) {
        std::fprintf(stderr, "http_load: %s\n", error.what());
        failed = true;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  if (failed) throw std::runtime_error("the load failed");
  const std::chrono::duration<double> took = Clock::now() - start;
  return static_cast<double>(moved) / took.count() / (1 << 20);
}

}  // namespace

int main(int argc, char** argv) {
  Plan plan;
  CLI::App app("Sends one fixed HTTP request over and over; prints MiB/s.");
  app.add_option("--host", plan.host, "IPv4 address")->capture_default_str();
  app.add_option("--port", plan.port, "Port")->required();
  app.add_option("--mode", plan.mode,
                 "get (ranges), put (objects), parts (of one upload)")
      ->check(CLI::IsMember({"get", "put", "parts"}))
      ->capture_default_str();
  app.add_option("--path", plan.path, "Path of the object")
      ->capture_default_str();
  app.add_option("--body-bytes", plan.body_bytes, "Bytes of each body")
      ->capture_default_str();
  app.add_option("--head-bytes", plan.head_bytes, "Bytes of a request's head")
      ->capture_default_str();
  app.add_option("--connections", plan.connections, "Connections")
      ->capture_default_str();
  app.add_option("--seconds", plan.seconds, "How long")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    std::printf("%.1f\n", Run(plan));
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "http_load: %s\n", error.what());
    return 1;
  }
}
