// The line between umount and the daemon, both ends in one process.
#include "cli/control_channel.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
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
    verdict = AskToUnmount(
        Device(), [&](const std::string& line) { said.push_back(line); });
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
    client = std::thread(
        [&] { verdict = AskToUnmount(Device(), [](const std::string&) {}); });
    WaitReadable(*server);
    EXPECT_TRUE(server->Accept());
  }
  client.join();
  ASSERT_FALSE(verdict.has_value());
  EXPECT_EQ(verdict.error().code(), ErrorCode::kUnavailable);
}

TEST(ControlChannel, NobodyListens) {
  const Result<ExitCode> verdict =
      AskToUnmount(Device() + "-none", [](const std::string&) {});
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
  std::thread client(
      [&] { verdict = AskToUnmount(Device(), [](const std::string&) {}); });
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
    static_cast<void>(
        AskToUnmount(device, [](const std::string&) { ::_exit(0); }));
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

}  // namespace
}  // namespace ckptfs::cli
