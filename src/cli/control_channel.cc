#include "cli/control_channel.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <optional>
#include <system_error>
#include <thread>

namespace ckptfs::cli {

namespace {

std::string Reason(int error) { return std::generic_category().message(error); }

struct Address {
  sockaddr_un name{};
  socklen_t size = 0;
};

Address AbstractAddress(const std::string& device) {
  // A leading NUL byte makes the name abstract (unix(7)).
  const std::string name = '\0' + ("ckptfs/" + device);
  Address address;
  address.name.sun_family = AF_UNIX;
  std::memcpy(address.name.sun_path, name.data(), name.size());
  address.size =
      static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  return address;
}

std::optional<uid_t> PeerUid(int socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
    return std::nullopt;
  }
  return peer.uid;
}

}  // namespace

Result<ControlServer> ControlServer::Listen(const std::string& device,
                                            std::chrono::milliseconds wait) {
  constexpr std::chrono::milliseconds kInterval{10};
  fuse::FileDescriptor socket(
      ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const Address address = AbstractAddress(device);
  const auto deadline = std::chrono::steady_clock::now() + wait;
  while (!socket.valid() ||
         ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address.name),
                address.size) != 0 ||
         ::listen(socket.get(), 8) != 0) {
    const int error = errno;
    if (error == EADDRINUSE && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(kInterval);
      continue;
    }
    return Fail(
        error == EADDRINUSE ? ErrorCode::kAlreadyExists : ErrorCode::kInternal,
        "cannot listen for ckptfs umount (socket @ckptfs/" + device +
            "): " + Reason(error));
  }
  return ControlServer(std::move(socket));
}

bool ControlServer::Accept() {
  fuse::FileDescriptor client(::accept4(listener_.get(), nullptr, nullptr,
                                        SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!client.valid()) return false;
  const std::optional<uid_t> uid = PeerUid(client.get());
  if (!uid.has_value() || (*uid != 0 && *uid != ::geteuid())) return false;
  clients_.push_back(std::move(client));
  return true;
}

void ControlServer::Send(const std::string& line) {
  std::erase_if(clients_, [&](const fuse::FileDescriptor& client) {
    // A client that went (EPIPE) is forgotten; the end goes on without it.
    return ::send(client.get(), line.data(), line.size(),
                  MSG_NOSIGNAL | MSG_DONTWAIT) < 0 &&
           errno != EAGAIN;
  });
}

void ControlServer::Say(std::string_view text) {
  Send("say " + std::string(text) + "\n");
}

void ControlServer::End(ExitCode code) {
  Send("end " + std::to_string(static_cast<int>(code)) + "\n");
  clients_.clear();
}

Result<ExitCode> AskToUnmount(const std::string& device,
                              UniqueFunction<void(const std::string&)> say) {
  const fuse::FileDescriptor socket(
      ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const Address address = AbstractAddress(device);
  if (!socket.valid() ||
      ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address.name),
                address.size) != 0) {
    return Fail(
        ErrorCode::kNotFound,
        "its daemon cannot be reached from here (" + Reason(errno) + ")");
  }
  // Only the daemon's owner may speak for it.
  const std::optional<uid_t> uid = PeerUid(socket.get());
  if (::geteuid() != 0 && uid != ::geteuid()) {
    return Fail(ErrorCode::kPermissionDenied,
                "it was mounted by another user; ask them or root");
  }
  std::string text;
  std::optional<ExitCode> verdict;
  char buffer[512];
  for (;;) {
    const ssize_t n = ::recv(socket.get(), buffer, sizeof buffer, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    text.append(buffer, static_cast<std::size_t>(n));
    for (std::size_t end; (end = text.find('\n')) != std::string::npos;
         text.erase(0, end + 1)) {
      const std::string line = text.substr(0, end);
      if (line.rfind("say ", 0) == 0) {
        say(line.substr(4));
      } else if (line.rfind("end ", 0) == 0) {
        int code = 0;
        std::from_chars(line.data() + 4, line.data() + line.size(), code);
        verdict = static_cast<ExitCode>(code);
      }
    }
  }
  if (!verdict.has_value()) {
    return Fail(ErrorCode::kUnavailable,
                "its daemon went without saying what became of unpublished "
                "files; see its log");
  }
  return *verdict;
}

}  // namespace ckptfs::cli
