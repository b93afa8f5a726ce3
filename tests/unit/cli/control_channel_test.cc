// The line between umount and the daemon, both ends in one process.
#include "cli/control_channel.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <functional>
#include <string>
#include <thread>
#include <vector>

namespace ckptfs::cli {
namespace {

// No device has such a number; the pid keeps parallel runs apart.
std::string Device() { return "test:" + std::to_string(::getpid()); }

constexpr std::chrono::milliseconds kNoWait{0};

void WaitReadable(const ControlServer& server) {
  pollfd fd{server.fd(), POLLIN, 0};
  ASSERT_EQ(::poll(&fd, 1, 10'000), 1);
}

TEST(ControlChannel, SaysAndEnds) {
  Result<ControlServer> server = ControlServer::Listen(Device(), kNoWait);
  ASSERT_TRUE(server.has_value()) << server.error().message();
  EXPECT_FALSE(server->Accept());  // nobody asked
  std::vector<std::string> said;
  Result<ExitCode> verdict = Fail(ErrorCode::kInternal, "not asked");
  std::thread client([&] {
    verdict = AskToUnmount(Device(), geteuid(), [&](const std::string& line) {
      said.push_back(line);
    });
  });
  WaitReadable(*server);
  EXPECT_TRUE(server->Accept());
  server->Say("waiting for model.pt");
  server->Say("lost: model.pt");
  server->End(ExitCode::kLostFiles);
  client.join();
  ASSERT_TRUE(verdict.has_value()) << verdict.error().message();
  EXPECT_EQ(*verdict, ExitCode::kLostFiles);
  EXPECT_EQ(said, (std::vector<std::string>{"waiting for model.pt",
                                            "lost: model.pt"}));
}

TEST(ControlChannel, ADaemonThatDiesGivesNoVerdict) {
  Result<ExitCode> verdict = ExitCode::kSuccess;
  std::thread client;
  {
    Result<ControlServer> server = ControlServer::Listen(Device(), kNoWait);
    ASSERT_TRUE(server.has_value());
    client = std::thread([&] {
      verdict = AskToUnmount(Device(), geteuid(), [](const std::string&) {});
    });
    WaitReadable(*server);
    EXPECT_TRUE(server->Accept());
  }
  client.join();
  ASSERT_FALSE(verdict.has_value());
  EXPECT_EQ(verdict.error().code(), ErrorCode::kUnavailable);
}

TEST(ControlChannel, NobodyListens) {
  const Result<ExitCode> verdict =
      AskToUnmount(Device() + "-none", geteuid(), [](const std::string&) {});
  ASSERT_FALSE(verdict.has_value());
  EXPECT_EQ(verdict.error().code(), ErrorCode::kNotFound);
}

TEST(ControlChannel, ANameIsTakenOnce) {
  Result<ControlServer> first = ControlServer::Listen(Device(), kNoWait);
  ASSERT_TRUE(first.has_value());
  const Result<ControlServer> second = ControlServer::Listen(Device(), kNoWait);
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code(), ErrorCode::kAlreadyExists);
}

// The number of an ended mount goes to the next one while the daemon of the
// first still tells its clients what was lost.
TEST(ControlChannel, ANameIsFreeBeforeTheVerdict) {
  Result<ControlServer> first = ControlServer::Listen(Device(), kNoWait);
  ASSERT_TRUE(first.has_value());
  Result<ExitCode> verdict = Fail(ErrorCode::kInternal, "not asked");
  std::thread client([&] {
    verdict = AskToUnmount(Device(), geteuid(), [](const std::string&) {});
  });
  WaitReadable(*first);
  EXPECT_TRUE(first->Accept());
  first->StopListening();
  EXPECT_FALSE(first->Accept());
  const Result<ControlServer> second = ControlServer::Listen(Device(), kNoWait);
  EXPECT_TRUE(second.has_value());
  first->End(ExitCode::kSuccess);
  client.join();
  ASSERT_TRUE(verdict.has_value());
  EXPECT_EQ(*verdict, ExitCode::kSuccess);
}

TEST(ControlChannel, AClientThatWentIsForgotten) {
  const std::string device = Device();  // the child has another pid
  Result<ControlServer> server = ControlServer::Listen(device, kNoWait);
  ASSERT_TRUE(server.has_value());
  // A process that is ended while it waits: its socket closes.
  const pid_t client = ::fork();
  ASSERT_GE(client, 0);
  if (client == 0) {
    static_cast<void>(AskToUnmount(device, geteuid(),
                                   [](const std::string&) { ::_exit(0); }));
    ::_exit(1);
  }
  WaitReadable(*server);
  EXPECT_TRUE(server->Accept());
  server->Say("waiting");
  int status = -1;
  ASSERT_EQ(::waitpid(client, &status, 0), client);
  EXPECT_EQ(status, 0);
  server->Say("waiting");
  server->End(ExitCode::kSuccess);
}

struct ControlAddress {
  explicit ControlAddress(const std::string& text) {
    name.sun_family = AF_UNIX;
    text.copy(name.sun_path + 1, sizeof name.sun_path - 1);
    size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 +
                                  text.size());
  }
  const sockaddr* get() const {
    return reinterpret_cast<const sockaddr*>(&name);
  }
  sockaddr_un name{};
  socklen_t size = 0;
};

// A socket with one of the daemon's names.
class Listener {
 public:
  explicit Listener(const std::string& name)
      : socket_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const ControlAddress address(name);
    bound_ = ::bind(socket_.get(), address.get(), address.size) == 0 &&
             ::listen(socket_.get(), 8) == 0;
  }
  bool bound() const { return bound_; }
  // Says `text` to the first who comes, then hangs up.
  void Answer(const std::string& text) const {
    const fuse::FileDescriptor client(
        ::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    ::send(client.get(), text.data(), text.size(), MSG_NOSIGNAL);
  }

 private:
  fuse::FileDescriptor socket_;
  bool bound_ = false;
};

// What comes back if the owner's daemon answers with these bytes.
Result<ExitCode> AnswerWith(const std::string& bytes,
                            std::vector<std::string>* said = nullptr) {
  const Listener daemon(ControlName(Device(), 0));
  EXPECT_TRUE(daemon.bound());
  std::thread answer([&] { daemon.Answer(bytes); });
  Result<ExitCode> verdict =
      AskToUnmount(Device(), geteuid(), [&](const std::string& line) {
        if (said != nullptr) said->push_back(line);
      });
  answer.join();
  return verdict;
}

TEST(ControlChannel, OnlyAWholeVerdictCounts) {
  EXPECT_EQ(AnswerWith("end 7\n").value(), ExitCode::kLostFiles);
  for (const char* bytes :
       {"", "end 0", "end\n", "end \n", "end x\n", "end 0x\n", "end -1\n",
        "end 256\n", "end 10\n", "end 99999999999\n", "End 0\n", "\n\n",
        "\xff\x00\n", "say end 0\n"}) {
    const Result<ExitCode> verdict = AnswerWith(bytes);
    ASSERT_FALSE(verdict.has_value()) << bytes;
    EXPECT_EQ(verdict.error().code(), ErrorCode::kUnavailable);
  }
  // A line without an end takes no more memory than a line may.
  const Result<ExitCode> verdict =
      AnswerWith(std::string(std::size_t{1} << 20, 'x'));
  ASSERT_FALSE(verdict.has_value());
  EXPECT_NE(verdict.error().message().find("not ckptfs"), std::string::npos);
  EXPECT_EQ(verdict.error().code(), ErrorCode::kUnavailable);
}

// The name of a file cannot end the conversation.
TEST(ControlChannel, LineBreaksInNamesAreText) {
  Result<ControlServer> server = ControlServer::Listen(Device(), kNoWait);
  ASSERT_TRUE(server.has_value());
  std::vector<std::string> said;
  Result<ExitCode> verdict = ExitCode::kSuccess;
  std::thread client([&] {
    verdict = AskToUnmount(Device(), geteuid(), [&](const std::string& line) {
      said.push_back(line);
    });
  });
  WaitReadable(*server);
  EXPECT_TRUE(server->Accept());
  const std::string text = "lost: a\nend 0\n\\n\\";
  server->Say(text);
  server->End(ExitCode::kLostFiles);
  client.join();
  EXPECT_EQ(verdict.value(), ExitCode::kLostFiles);
  EXPECT_EQ(said, std::vector<std::string>{text});
}

// A process of another user that runs `body`, says so, and waits to be killed.
class Stranger {
 public:
  explicit Stranger(const std::function<void()>& body) {
    int ready[2];
    EXPECT_EQ(::pipe2(ready, O_CLOEXEC), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      if (::setresuid(kUid, kUid, kUid) != 0) ::_exit(98);
      body();
      if (::write(ready[1], "x", 1) != 1) ::_exit(97);
      while (true) ::pause();
    }
    ::close(ready[1]);
    char byte = 0;
    EXPECT_EQ(::read(ready[0], &byte, 1), 1) << "the stranger failed";
    ::close(ready[0]);
  }
  ~Stranger() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Stranger(const Stranger&) = delete;
  Stranger& operator=(const Stranger&) = delete;

  static constexpr uid_t kUid = 65'534;

 private:
  pid_t pid_;
};

class ControlChannelStrangers : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root to be a stranger";
  }
  const std::string device_ = Device();
};

// Connected, silent, and more than the queue holds: who may ask is served all
// the same.
TEST_F(ControlChannelStrangers, CannotKeepTheDaemon) {
  Result<ControlServer> server = ControlServer::Listen(device_, kNoWait);
  ASSERT_TRUE(server.has_value());
  const Stranger stranger([&] {
    for (int i = 0; i < 300; ++i) {
      const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
      const ControlAddress address(ControlName(device_, 0));
      if (::connect(fd, address.get(), address.size) == 0) {
        static_cast<void>(::send(fd, "\xff\0bytes", 7, MSG_NOSIGNAL));
      }
    }
  });
  Result<ExitCode> verdict = ExitCode::kOther;
  std::thread client(
      [&] { verdict = AskToUnmount(device_, 0, [](const std::string&) {}); });
  bool asked = false;
  for (int i = 0; i < 302 && !asked; ++i) {
    WaitReadable(*server);
    asked = server->Accept();
  }
  EXPECT_TRUE(asked);
  server->End(ExitCode::kSuccess);
  client.join();
  ASSERT_TRUE(verdict.has_value()) << verdict.error().message();
}

// Who may ask but does not listen to the answer keeps nobody, either.
TEST_F(ControlChannelStrangers, ADeafClientKeepsNobody) {
  Result<ControlServer> server = ControlServer::Listen(device_, kNoWait);
  ASSERT_TRUE(server.has_value());
  const fuse::FileDescriptor deaf(::socket(AF_UNIX, SOCK_STREAM, 0));
  const ControlAddress address(ControlName(device_, 0));
  ASSERT_EQ(::connect(deaf.get(), address.get(), address.size), 0);
  EXPECT_TRUE(server->Accept());
  for (int i = 0; i < 2000; ++i) server->Say(std::string(1000, 'x'));
  Result<ExitCode> verdict = ExitCode::kOther;
  std::thread client(
      [&] { verdict = AskToUnmount(device_, 0, [](const std::string&) {}); });
  WaitReadable(*server);
  EXPECT_TRUE(server->Accept());
  server->End(ExitCode::kSuccess);
  client.join();
  EXPECT_TRUE(verdict.has_value());
}

// After a daemon's death a stranger takes its name and promises root that all
// is well.
TEST_F(ControlChannelStrangers, DoNotAnswerForADaemon) {
  const Stranger stranger([&] {
    const auto* const listener = new Listener(ControlName(device_, 0));
    if (!listener->bound()) ::_exit(1);
    std::thread([listener] {
      while (true) listener->Answer("end 0\n");
    }).detach();
  });
  const Result<ExitCode> forged =
      AskToUnmount(device_, 0, [](const std::string&) {});
  ASSERT_FALSE(forged.has_value());
  EXPECT_EQ(forged.error().code(), ErrorCode::kNotFound);
  EXPECT_NE(forged.error().message().find("65534"), std::string::npos);
  // Nor does it keep a mount from being made, or from being ended.
  Result<ControlServer> server = ControlServer::Listen(device_, kNoWait);
  ASSERT_TRUE(server.has_value()) << server.error().message();
  Result<ExitCode> verdict = Fail(ErrorCode::kInternal, "not asked");
  std::thread client(
      [&] { verdict = AskToUnmount(device_, 0, [](const std::string&) {}); });
  WaitReadable(*server);
  EXPECT_TRUE(server->Accept());
  server->End(ExitCode::kLostFiles);
  client.join();
  EXPECT_EQ(verdict.value(), ExitCode::kLostFiles);
  // It may answer for a mount of its own.
  EXPECT_EQ(
      AskToUnmount(device_, Stranger::kUid, [](const std::string&) {}).value(),
      ExitCode::kSuccess);
}

TEST_F(ControlChannelStrangers, WithAllNamesKeepAMountFromBeingMade) {
  const Stranger stranger([&] {
    for (int i = 0; i < kControlNames; ++i) {
      if (!(new Listener(ControlName(device_, i)))->bound()) ::_exit(1);
    }
  });
  const Result<ControlServer> server =
      ControlServer::Listen(device_, std::chrono::seconds(60));
  ASSERT_FALSE(server.has_value());
  EXPECT_NE(server.error().message().find("other users"), std::string::npos);
}

TEST_F(ControlChannelStrangers, AskForNobodyElsesMount) {
  const Stranger stranger([&] {
    const Result<ExitCode> verdict =
        AskToUnmount(device_, 0, [](const std::string&) {});
    if (verdict.has_value() ||
        verdict.error().code() != ErrorCode::kPermissionDenied) {
      ::_exit(1);
    }
  });
}

// Out of descriptors it takes one connection all the same; then the listener
// stays readable, and nobody can be taken.
TEST(ControlChannel, OutOfDescriptors) {
  Result<ControlServer> server = ControlServer::Listen(Device(), kNoWait);
  ASSERT_TRUE(server.has_value());
  EXPECT_FALSE(server->Accept());
  EXPECT_FALSE(server->exhausted());
  const ControlAddress address(ControlName(Device(), 0));
  std::vector<fuse::FileDescriptor> clients;
  for (int i = 0; i < 3; ++i) {
    clients.emplace_back(::socket(AF_UNIX, SOCK_STREAM, 0));
    ASSERT_EQ(::connect(clients.back().get(), address.get(), address.size), 0);
  }
  // Fill up: numbers that the limit forbids are not given.
  std::vector<fuse::FileDescriptor> fillers;
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit few{64, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  for (int fd; (fd = ::dup(server->fd())) >= 0;) fillers.emplace_back(fd);
  const bool first = server->Accept();
  const bool exhausted_by_first = server->exhausted();
  const bool second = server->Accept();
  const bool exhausted_by_second = server->exhausted();
  fillers.clear();
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_TRUE(first);
  EXPECT_FALSE(exhausted_by_first);
  EXPECT_FALSE(second);
  EXPECT_TRUE(exhausted_by_second);
  EXPECT_TRUE(server->Accept());
  EXPECT_FALSE(server->exhausted());
}

}  // namespace
}  // namespace ckptfs::cli
