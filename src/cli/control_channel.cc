#include "cli/control_channel.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <optional>
#include <system_error>
#include <thread>

namespace ckptfs::cli {

namespace {

// Longer than any path, with room for what is said of it.
constexpr std::size_t kMaxLineBytes = std::size_t{64} << 10;
// Of connections that wait to be taken.
constexpr int kBacklog = 128;
constexpr timeval kConnectLimit{2, 0};

std::string Reason(int error) { return std::generic_category().message(error); }

struct Address {
  sockaddr_un name{};
  socklen_t size = 0;
};

Address AbstractAddress(const std::string& text) {
  // A leading NUL byte makes the name abstract (unix(7)).
  const std::string name = '\0' + text;
  Address address;
  address.name.sun_family = AF_UNIX;
  const std::size_t size = std::min(name.size(), sizeof address.name.sun_path);
  std::memcpy(address.name.sun_path, name.data(), size);
  address.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + size);
  return address;
}

const sockaddr* Generic(const Address& address) {
  return reinterpret_cast<const sockaddr*>(&address.name);
}

std::optional<uid_t> PeerUid(int socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
    return std::nullopt;
  }
  return peer.uid;
}

// Invalid, with errno set, if nobody listens there. A listener whose queue is
// full costs two seconds.
fuse::FileDescriptor Connect(const std::string& name) {
  fuse::FileDescriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return {};
  const Address address = AbstractAddress(name);
  if (::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &kConnectLimit,
                   sizeof kConnectLimit) != 0 ||
      ::connect(socket.get(), Generic(address), address.size) != 0) {
    const int error = errno;
    socket.Close();
    errno = error;
  }
  return socket;
}

// Whether a daemon that we may wait for has the name.
bool IsHeldByADaemon(const std::string& name) {
  const fuse::FileDescriptor socket = Connect(name);
  if (!socket.valid()) return false;
  const std::optional<uid_t> uid = PeerUid(socket.get());
  return uid == 0 || uid == ::geteuid();
}

std::string Escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\n') {
      out += "\\n";
    } else {
      if (c == '\\') out += '\\';
      out += c;
    }
  }
  return out;
}

std::string Unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) {
      ++i;
      out += text[i] == 'n' ? '\n' : text[i];
    } else {
      out += text[i];
    }
  }
  return out;
}

// Of an "end" line: one of the exit codes, or nothing.
std::optional<ExitCode> ParseVerdict(std::string_view text) {
  int code = -1;
  const auto [stop, error] =
      std::from_chars(text.data(), text.data() + text.size(), code);
  if (error != std::errc() || stop != text.data() + text.size() || code < 0 ||
      code > static_cast<int>(ExitCode::kDamaged)) {
    return std::nullopt;
  }
  return static_cast<ExitCode>(code);
}

Result<ExitCode> HearVerdict(int socket,
                             UniqueFunction<void(const std::string&)>& say) {
  std::string text;
  char buffer[4096];
  while (text.size() <= kMaxLineBytes) {
    const ssize_t n = ::recv(socket, buffer, sizeof buffer, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      return Fail(ErrorCode::kUnavailable,
                  "its daemon went without saying what became of unpublished "
                  "files; see its log");
    }
    text.append(buffer, static_cast<std::size_t>(n));
    for (std::size_t end; (end = text.find('\n')) != std::string::npos;
         text.erase(0, end + 1)) {
      const std::string_view line = std::string_view(text).substr(0, end);
      if (line.starts_with("say ")) {
        say(Unescape(line.substr(4)));
      } else if (line.starts_with("end ")) {
        const std::optional<ExitCode> verdict = ParseVerdict(line.substr(4));
        if (verdict.has_value()) return *verdict;
        return Fail(ErrorCode::kUnavailable,
                    "its daemon ends with a code that is none; see its log");
      }
    }
  }
  return Fail(ErrorCode::kUnavailable,
              "what answers for its daemon is not ckptfs");
}

}  // namespace

std::string ControlName(const std::string& device, int index) {
  return "ckptfs/" + device + (index == 0 ? "" : "/" + std::to_string(index));
}

Result<ControlServer> ControlServer::Listen(const std::string& device,
                                            std::chrono::milliseconds wait) {
  constexpr std::chrono::milliseconds kInterval{10};
  const auto failed = [&device](ErrorCode code, const std::string& reason) {
    return Fail(code, "cannot listen for ckptfs umount (socket @" +
                          ControlName(device, 0) + "): " + reason);
  };
  fuse::FileDescriptor socket(
      ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return failed(ErrorCode::kInternal, Reason(errno));
  const auto deadline = std::chrono::steady_clock::now() + wait;
  for (int index = 0; index < kControlNames;) {
    const std::string name = ControlName(device, index);
    const Address address = AbstractAddress(name);
    if (::bind(socket.get(), Generic(address), address.size) == 0) {
      if (::listen(socket.get(), kBacklog) != 0) {
        return failed(ErrorCode::kInternal, Reason(errno));
      }
      return ControlServer(std::move(socket));
    }
    if (errno != EADDRINUSE) return failed(ErrorCode::kInternal, Reason(errno));
    if (!IsHeldByADaemon(name)) {
      ++index;
    } else if (std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(kInterval);
    } else {
      return failed(ErrorCode::kAlreadyExists, Reason(EADDRINUSE));
    }
  }
  return failed(ErrorCode::kAlreadyExists,
                "processes of other users hold this name and all that follow; "
                "see ss -xlp");
}

ControlServer::ControlServer(fuse::FileDescriptor listener)
    : listener_(std::move(listener)),
      spare_(::open("/dev/null", O_RDONLY | O_CLOEXEC)) {}

fuse::FileDescriptor ControlServer::TakeConnection() const {
  return fuse::FileDescriptor(::accept4(listener_.get(), nullptr, nullptr,
                                        SOCK_CLOEXEC | SOCK_NONBLOCK));
}

bool ControlServer::Accept() {
  fuse::FileDescriptor client = TakeConnection();
  if (!client.valid() && (errno == EMFILE || errno == ENFILE) &&
      spare_.valid()) {
    spare_.Close();
    client = TakeConnection();
  }
  exhausted_ = !client.valid() && (errno == EMFILE || errno == ENFILE ||
                                   errno == ENOMEM || errno == ENOBUFS);
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
  Send("say " + Escape(text) + "\n");
}

void ControlServer::End(ExitCode code) {
  Send("end " + std::to_string(static_cast<int>(code)) + "\n");
  clients_.clear();
}

Result<ExitCode> AskToUnmount(const std::string& device, uid_t owner,
                              UniqueFunction<void(const std::string&)> say) {
  if (::geteuid() != 0 && ::geteuid() != owner) {
    return Fail(ErrorCode::kPermissionDenied,
                "it was mounted by another user; ask them or root");
  }
  std::string reason;
  for (int index = 0; index < kControlNames; ++index) {
    const fuse::FileDescriptor socket = Connect(ControlName(device, index));
    if (!socket.valid()) {
      if (reason.empty()) reason = Reason(errno);
      continue;
    }
    const std::optional<uid_t> uid = PeerUid(socket.get());
    if (uid == 0 || uid == owner) return HearVerdict(socket.get(), say);
    reason = "a process of user " + std::to_string(uid.value_or(-1)) +
             " has its name, and is not heard";
  }
  return Fail(ErrorCode::kNotFound,
              "its daemon cannot be reached from here (" + reason + ")");
}

}  // namespace ckptfs::cli
