// The server through a socket, without any HTTP client: the bytes on the wire.
#include "s3server/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

namespace ckptfs::s3server {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// A blocking connection to the server.
class Client {
 public:
  explicit Client(std::uint16_t port)
      : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(socket_, reinterpret_cast<sockaddr*>(&address),
                           sizeof(address)) == 0;
  }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client() { ::close(socket_); }

  bool connected() const { return connected_; }

  bool Send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n =
          ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }

  // Everything until the server closes; *error is 0 or errno.
  std::string ReadToEnd(int* error) {
    std::string all;
    char buffer[4096];
    ssize_t n;
    while ((n = ::recv(socket_, buffer, sizeof(buffer), 0)) > 0) {
      all.append(buffer, static_cast<std::size_t>(n));
    }
    *error = n < 0 ? errno : 0;
    return all;
  }

 private:
  const int socket_;
  bool connected_;
};

class ServerTest : public ::testing::Test {
 protected:
  void Start(Options options = {}) {
    options.buckets = {"b"};
    options.no_auth = true;
    server_ = std::make_unique<Server>(std::move(options));
    const auto started = server_->Start();
    ASSERT_TRUE(started) << started.error();
  }
  // All replies to `requests`, which are sent at once. The last must ask for
  // the end of the connection.
  std::string Exchange(std::string_view requests, int* error = nullptr) {
    Client client(server_->port());
    EXPECT_TRUE(client.connected());
    // May fail where the server resets in the middle.
    const bool sent = client.Send(requests);
    int read_error = 0;
    std::string reply = client.ReadToEnd(&read_error);
    if (error) {
      *error = read_error;
    } else {
      EXPECT_TRUE(sent);
      EXPECT_EQ(read_error, 0);
    }
    return reply;
  }

  std::unique_ptr<Server> server_;
};

TEST_F(ServerTest, ServesPipelinedRequestsInOrder) {
  Start();
  const std::string reply = Exchange(
      "PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
      "HEAD /b/k HTTP/1.1\r\nHost: h\r\n\r\n"
      "GET /b/k HTTP/1.1\r\nHost: h\r\nRange: bytes=1-3\r\n"
      "Connection: close\r\n\r\n");
  EXPECT_THAT(reply, StartsWith("HTTP/1.1 200 OK\r\nx-amz-request-id: "));
  EXPECT_THAT(reply, HasSubstr("ETag: \"5d41402abc4b2a76b9719d911017c592\""));
  EXPECT_THAT(reply, HasSubstr("Content-Length: 5\r\n\r\nHTTP/1.1 206"));
  EXPECT_THAT(reply, HasSubstr("Content-Range: bytes 1-3/5\r\n"));
  EXPECT_THAT(reply, EndsWith("\r\n\r\nell"));
}

TEST_F(ServerTest, ReceivesChunkedBodies) {
  Start();
  Exchange(
      "PUT /b/k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
      "Connection: close\r\n\r\n"
      "3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nTrailer: v\r\n\r\n");
  EXPECT_EQ((*server_->table().Get("b", "k"))->content.ToString(), "abcdefg");
}

TEST_F(ServerTest, AnswersExpect) {
  Start();
  const std::string reply = Exchange(
      "PUT /b/k HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
      "Content-Length: 1\r\nConnection: close\r\n\r\nx");
  EXPECT_THAT(reply, StartsWith("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200"));
}

TEST_F(ServerTest, RefusesWhatIsNotHttp) {
  Start();
  for (const char* bytes :
       {"hello\r\n\r\n", "PUT /b/k HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        "PUT /b/k HTTP/1.1\r\nContent-Length: 1\r\n"
        "Transfer-Encoding: chunked\r\n\r\n",
        "PUT /b/k HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "PUT /b/k HTTP/1.1\r\nContent-Length: 99999999999999\r\n\r\n"}) {
    EXPECT_THAT(Exchange(bytes), StartsWith("HTTP/1.1 400 ")) << bytes;
  }
  EXPECT_FALSE(server_->table().Get("b", "k"));
}

TEST_F(ServerTest, UnfinishedBodyPublishesNothing) {
  Start();
  {
    Client client(server_->port());
    ASSERT_TRUE(client.Send(
        "PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf"));
  }
  server_->Stop();
  EXPECT_FALSE(server_->table().Get("b", "k"));
}

TEST_F(ServerTest, ResetsAtTheByteAskedFor) {
  Start();
  ASSERT_TRUE(
      server_->plan().Add(*ParseQuery("op=GetObject&action=reset&at_byte=4")));
  server_->table().Put("b", "k", Content::FromString("0123456789"), "", {}, {},
                       {});
  int error = 0;
  const std::string reply =
      Exchange("GET /b/k HTTP/1.1\r\nHost: h\r\n\r\n", &error);
  EXPECT_EQ(error, ECONNRESET);
  EXPECT_THAT(reply, HasSubstr("Content-Length: 10\r\n"));
  EXPECT_THAT(reply, EndsWith("\r\n\r\n0123"));
}

TEST_F(ServerTest, LosesTheReplyButDoesTheWork) {
  Start();
  ASSERT_TRUE(
      server_->plan().Add(*ParseQuery("op=PutObject&action=lose_reply")));
  EXPECT_EQ(Exchange("PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n"
                     "\r\nx"),
            "");
  EXPECT_TRUE(server_->table().Get("b", "k"));
}

TEST_F(ServerTest, StopEndsHeldRequestsUndone) {
  Start();
  ASSERT_TRUE(server_->plan().Add(*ParseQuery("action=hold")));
  Client client(server_->port());
  ASSERT_TRUE(client.Send(
      "PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx"));
  ASSERT_TRUE(server_->plan().WaitHeld(1, std::chrono::seconds(60)));
  server_->Stop();
  int error = 0;
  EXPECT_EQ(client.ReadToEnd(&error), "");
  EXPECT_FALSE(server_->table().Get("b", "k"));
}

TEST_F(ServerTest, PacesConnections) {
  Options options;
  options.conn_mibs = 4;
  Start(options);
  server_->table().Put("b", "k", Content::Pattern(0, 1 << 20), "", {}, {}, {});
  const auto start = std::chrono::steady_clock::now();
  const std::string reply =
      Exchange("GET /b/k HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  const auto took = std::chrono::steady_clock::now() - start;
  EXPECT_GT(reply.size(), std::size_t{1} << 20);
  // A quarter of a second is due; a slow machine may take any longer.
  EXPECT_GE(took, std::chrono::milliseconds(240));
}

TEST_F(ServerTest, CountsWhatItServed) {
  Start();
  Exchange(
      "PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
      "GET /b/k HTTP/1.1\r\nHost: h\r\n\r\n"
      "GET /b/absent HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  const nlohmann::json stats = server_->statistics().ToJson();
  EXPECT_EQ(stats["requests"], 3);
  EXPECT_EQ(stats["errors"], 1);
  EXPECT_EQ(stats["operations"]["PutObject"]["bytes_in"], 5);
  EXPECT_EQ(stats["operations"]["GetObject"]["requests"], 2);
  EXPECT_EQ(stats["total_connections"], 1);
}

TEST_F(ServerTest, BadFaultsAndAddressesAreRefused) {
  Options options;
  options.faults = {"action=explode"};
  EXPECT_THAT(Server(options).Start().error(), HasSubstr("explode"));
  options.faults.clear();
  options.host = "192.0.2.1";  // TEST-NET-1: not an address of this machine
  EXPECT_FALSE(Server(options).Start());
}

}  // namespace
}  // namespace ckptfs::s3server
