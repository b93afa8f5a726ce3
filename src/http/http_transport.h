// HttpTransport: one HTTP/1.1 exchange, asynchronous, without staging copies.
// It knows nothing of S3: no retries, no redirects, no signatures. What a proxy
// says about a tunnel is never taken for the server's reply.
#pragma once

#include <ckptfs/future.h>
#include <ckptfs/object_store.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckptfs {

// Header fields in the order they were added; names compare without case
// (RFC 9110, 5.1). Value type.
class HttpHeaders {
 public:
  using Field = std::pair<std::string, std::string>;

  HttpHeaders() = default;
  HttpHeaders(std::initializer_list<Field> fields) : fields_(fields) {}

  void Add(std::string name, std::string value) {
    fields_.emplace_back(std::move(name), std::move(value));
  }
  // Replaces every field of that name.
  void Set(std::string_view name, std::string value);
  // The first field of that name.
  std::optional<std::string_view> Find(std::string_view name) const;
  // Likewise; empty when absent.
  std::string_view Get(std::string_view name) const {
    return Find(name).value_or(std::string_view());
  }
  void clear() { fields_.clear(); }
  bool empty() const { return fields_.empty(); }
  auto begin() const { return fields_.begin(); }
  auto end() const { return fields_.end(); }

 private:
  std::vector<Field> fields_;
};

// What becomes of a response body; decided when its head is complete.
struct BodyPlan {
  enum class Sink {
    kBuffer,       // HttpResponse::body, at most max_buffered_body bytes
    kDestination,  // HttpRequest::destination
    kRefuse,       // ends the exchange with TransportFailure::kRefused
  };
  Sink sink = Sink::kBuffer;
  std::uint64_t skip = 0;  // kDestination: leading body bytes to drop
};

// Looks at the head of the response and says where the body goes.
// Implementations run on a thread of the transport: quick, non-blocking,
// noexcept.
class ResponseObserver {
 public:
  virtual ~ResponseObserver() = default;
  virtual BodyPlan OnHead(int status, const HttpHeaders& headers) noexcept = 0;
  // Bytes just stored in the destination, while they are in the cache.
  virtual void OnBytes(std::span<const std::byte> bytes) noexcept {
    (void)bytes;
  }
};

struct HttpRequest {
  std::string method;
  std::string url;  // sent exactly as it stands: path and query are signed
  HttpHeaders headers;
  Payload body;  // read in place, again from the start if curl must rewind
  // Filled straight from the socket when the observer says so. Without an
  // observer every body is buffered.
  Destination destination;
  std::shared_ptr<ResponseObserver> observer;
  std::uint64_t max_buffered_body = 16u << 20;

  std::chrono::milliseconds connect_timeout{3000};
  // From the last byte that the network took to the first one of the answer.
  std::chrono::milliseconds first_byte_timeout{30000};
  // Longest pause while a body moves, in either direction. Bytes that leave the
  // kernel's buffer count as movement, however few they are.
  std::chrono::milliseconds stall_timeout{10000};
  std::chrono::steady_clock::time_point deadline =
      std::chrono::steady_clock::time_point::max();
  std::stop_token stop;
};

enum class TransportFailure {
  kNone,
  kCancelled,         // stop was requested, or the transport is shutting down
  kDeadline,          // HttpRequest::deadline passed
  kResolve,           // no address for the host
  kConnect,           // refused, unreachable, or timed out; also of a proxy
  kProxy,             // the proxy refused to connect: proxy_status
  kTls,               // handshake trouble other than the certificate
  kCertificate,       // the server's certificate does not verify
  kFirstByteTimeout,  // the server did not begin to answer
  kStallTimeout,      // bytes stopped moving
  kBroken,            // connection closed or reset
  kShortBody,         // the body ended before its declared length
  kBodyTooLarge,      // the body exceeds the buffer limit or the destination
  kRefused,           // by ResponseObserver::OnHead
  kMalformed,         // not HTTP, or not what this transport speaks
  kInternal,          // libcurl refused an option, out of memory
};

// The outcome of an exchange, whole or broken: after a failure the fields hold
// what had arrived by then.
struct HttpResponse {
  int status = 0;  // 0: no response head
  HttpHeaders headers;
  std::string body;
  // Body bytes stored in the destination, or in `body`.
  std::uint64_t bytes_received = 0;

  TransportFailure failure = TransportFailure::kNone;
  std::string failure_text;  // for people; names no credential
  // All of the request may have reached the server, which may have carried it
  // out.
  bool request_sent = false;
  // libcurl sent the request again on a new connection after a reused one
  // closed without an answer (lib/transfer.c, Curl_retry_request), so the
  // server may have executed it twice.
  bool replayed = false;
  // Bytes of the request's body that the network took, as far as is known.
  std::uint64_t bytes_sent = 0;
  // How long the exchange waited for a connection to be free.
  std::chrono::nanoseconds queued{0};
  // The proxy in between, without credentials; empty: none.
  std::string proxy;
  int proxy_status = 0;  // kProxy: what it answered; 0: not told

  bool complete() const { return failure == TransportFailure::kNone; }
};

// Thread-safe. Send never blocks. The future is fulfilled exactly once, after
// the last access to the request's memory; its error side is not used but for
// a broken promise. The destructor cancels what is in flight and waits for it.
class HttpTransport {
 public:
  virtual ~HttpTransport() = default;
  virtual Future<HttpResponse> Send(HttpRequest request) = 0;
};

}  // namespace ckptfs
