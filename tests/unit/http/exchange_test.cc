// CurlTransport against servers and proxies that do what they should not.
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "http/curl_transport.h"
#include "unit/http/tcp_server.h"

namespace ckptfs {
namespace {

using std::chrono::milliseconds;

std::unique_ptr<CurlTransport> Transport(ProxySettings proxies = {}) {
  CurlTransport::Options options;
  options.threads = 1;
  options.proxies = std::move(proxies);
  return *CurlTransport::Create(std::move(options));
}

HttpResponse Send(CurlTransport& transport, HttpRequest request) {
  Result<HttpResponse> response = transport.Send(std::move(request)).Get();
  EXPECT_TRUE(response.has_value());
  return response.has_value() ? *std::move(response) : HttpResponse();
}

HttpRequest Get(const std::string& url) {
  HttpRequest request;
  request.method = "GET";
  request.url = url;
  return request;
}

HttpRequest PutOf(const std::string& url, std::size_t size) {
  HttpRequest request;
  request.method = "PUT";
  request.url = url;
  auto body = std::make_shared<const std::string>(size, 'x');
  request.body.segments = {std::as_bytes(std::span(*body))};
  request.body.owner = std::move(body);
  return request;
}

constexpr char kEmptyReply[] =
    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

// 40 KiB/s: far less in one stall_timeout than libcurl's and the kernel's
// buffers hold, and the reader takes it in pieces that stop nothing.
TEST(Exchange, ASlowUploadIsNotAStalledOne) {
  constexpr std::size_t kSize = 160 << 10;
  TcpServer server(
      [](TcpConnection& connection) {
        std::size_t got = connection.ReceiveHead().size();
        while (got < kSize) {
          std::this_thread::sleep_for(milliseconds(100));
          const std::string more = connection.Receive(4 << 10);
          if (more.empty()) return;
          got += more.size();
        }
        connection.Send(kEmptyReply);
      },
      4096);
  auto transport = Transport();
  HttpRequest put = PutOf(server.url() + "/slow", kSize);
  put.stall_timeout = put.first_byte_timeout = milliseconds(1500);
  const HttpResponse response = Send(*transport, std::move(put));
  EXPECT_TRUE(response.complete()) << response.failure_text;
  EXPECT_EQ(response.status, 200);
  EXPECT_TRUE(response.request_sent);
  EXPECT_EQ(response.bytes_sent, kSize);
}

TEST(Exchange, AnUploadThatStopsIsCut) {
  TcpServer server(
      [](TcpConnection& connection) {
        connection.Receive(1024);
        while (connection.Receive(1) != "") {
          std::this_thread::sleep_for(std::chrono::seconds(3));
          break;
        }
      },
      4096);
  auto transport = Transport();
  HttpRequest put = PutOf(server.url() + "/stuck", 64 << 20);
  put.stall_timeout = milliseconds(1500);
  const HttpResponse response = Send(*transport, std::move(put));
  EXPECT_EQ(response.failure, TransportFailure::kStallTimeout);
  EXPECT_FALSE(response.request_sent);
  EXPECT_GT(response.bytes_sent, 0u);
  // What lies in the kernel's buffer is not there.
  EXPECT_LT(response.bytes_sent, 1u << 20);
}

TEST(Exchange, WhatWasSentWholeMayHaveBeenCarriedOut) {
  TcpServer server([](TcpConnection& connection) { connection.ReceiveHead(); });
  auto transport = Transport();
  HttpRequest request = PutOf(server.url() + "/lost", 10);
  const HttpResponse lost = Send(*transport, std::move(request));
  EXPECT_FALSE(lost.complete());
  EXPECT_TRUE(lost.request_sent);

  // Also where this side cuts it.
  std::mutex held;
  {
    TcpServer silent([&](TcpConnection& connection) {
      connection.ReceiveHead();
      std::lock_guard wait(held);
    });
    std::unique_lock hold(held);
    HttpRequest waiting = PutOf(silent.url() + "/silent", 10);
    waiting.deadline = std::chrono::steady_clock::now() + milliseconds(300);
    const HttpResponse cut = Send(*transport, std::move(waiting));
    EXPECT_EQ(cut.failure, TransportFailure::kDeadline);
    EXPECT_TRUE(cut.request_sent);
    hold.unlock();
  }
  // Nobody listens there any more.
  const HttpResponse refused =
      Send(*transport, Get("http://127.0.0.1:1/nobody"));
  EXPECT_EQ(refused.failure, TransportFailure::kConnect);
  EXPECT_FALSE(refused.request_sent);
}

// What a proxy says about the tunnel is not the object's head.
TEST(Exchange, TheReplyToConnectIsNotTheServers) {
  TcpServer proxy([](TcpConnection& connection) {
    connection.ReceiveHead();
    connection.Send(
        "HTTP/1.1 200 Connection established\r\nContent-Length: 0\r\n"
        "ETag: \"proxy\"\r\n\r\n");
    // And then the tunnel breaks.
  });
  auto transport = Transport(ProxySettings("", proxy.url(), ""));
  const HttpResponse response =
      Send(*transport, Get("https://endpoint.invalid/k"));
  EXPECT_FALSE(response.complete());
  EXPECT_EQ(response.status, 0);
  EXPECT_TRUE(response.headers.empty());
  EXPECT_FALSE(response.request_sent);
  EXPECT_EQ(response.proxy, proxy.url());
}

TEST(Exchange, AProxyThatRefusesSaysSo) {
  for (const int status : {407, 403, 502}) {
    TcpServer proxy([&](TcpConnection& connection) {
      connection.ReceiveHead();
      connection.Send("HTTP/1.1 " + std::to_string(status) +
                      " No\r\nContent-Length: 5\r\nETag: \"x\"\r\n\r\nsorry");
    });
    std::string with_password = proxy.url();
    with_password.insert(7, "user:secret@");
    auto transport = Transport(ProxySettings("", with_password, ""));
    const HttpResponse response =
        Send(*transport, Get("https://endpoint.invalid/k"));
    EXPECT_EQ(response.failure, TransportFailure::kProxy);
    EXPECT_EQ(response.proxy_status, status);
    EXPECT_EQ(response.proxy, proxy.url());
    EXPECT_EQ(response.status, 0);
    EXPECT_TRUE(response.headers.empty());
    EXPECT_FALSE(response.request_sent);
  }
}

TEST(Exchange, PlainRequestsGoThroughTheProxyUnlessExcluded) {
  std::mutex mu;
  std::vector<std::string> heads;
  const auto answer = [&](TcpConnection& connection) {
    const std::string head = connection.ReceiveHead();
    {
      std::lock_guard lock(mu);
      heads.push_back(head.substr(0, head.find("\r\n")));
    }
    connection.Send(kEmptyReply);
  };
  TcpServer proxy(answer);
  TcpServer server(answer);
  auto through = Transport(ProxySettings(proxy.url(), "", "example.org"));
  EXPECT_EQ(Send(*through, Get(server.url() + "/a")).status, 200);
  auto direct = Transport(ProxySettings(proxy.url(), "", "127.0.0.0/8"));
  EXPECT_EQ(Send(*direct, Get(server.url() + "/b")).status, 200);
  EXPECT_EQ(heads,
            (std::vector<std::string>{"GET " + server.url() + "/a HTTP/1.1",
                                      "GET /b HTTP/1.1"}));
}

// libcurl does not read the environment behind ProxySettings' back.
TEST(Exchange, TheEnvironmentIsNotReadLater) {
  TcpServer server([](TcpConnection& connection) {
    connection.ReceiveHead();
    connection.Send(kEmptyReply);
  });
  setenv("http_proxy", "http://127.0.0.1:1", 1);
  auto transport = Transport();
  const HttpResponse response = Send(*transport, Get(server.url() + "/k"));
  unsetenv("http_proxy");
  EXPECT_EQ(response.status, 200) << response.failure_text;
}

}  // namespace
}  // namespace ckptfs
