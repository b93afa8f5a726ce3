// S3Client: signs requests, sends them, and repeats what failed. Knows the
// protocol's envelope, not its operations: those are the call families.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <stop_token>

#include "common/clock.h"
#include "common/task.h"
#include "http/http_transport.h"
#include "s3/credentials/credentials_provider.h"
#include "s3/endpoint.h"
#include "s3/request_headers.h"
#include "s3/retry_policy.h"
#include "s3/s3_error.h"
#include "s3/s3_request.h"
#include "s3/sigv4.h"

namespace ckptfs {

// Bounds of one operation, retries included.
struct CallContext {
  std::stop_token stop;
  SteadyTime deadline = SteadyTime::max();  // the caller's own: absolute
  Duration patience = kPatience;            // time without progress
};

struct S3ClientOptions {
  RetryPolicy retry;
  std::chrono::milliseconds connect_timeout{3000};
  std::chrono::milliseconds get_first_byte_timeout{10000};
  std::chrono::milliseconds put_first_byte_timeout{30000};
  std::chrono::milliseconds stall_timeout{10000};
  std::uint64_t jitter_seed = 1;
  // How long a server may go on with a request whose connection is gone: for
  // so long an object that is still the old one proves nothing.
  std::chrono::milliseconds late_effect{20000};
  RequestHeaders headers;
};

// How an operation ended.
struct S3Outcome {
  HttpResponse response;             // of the last attempt
  std::optional<S3Failure> failure;  // nullopt: a success
  // With a failure: an attempt may have been carried out all the same, however
  // the last one ended (its failure may be the echo of that success).
  bool maybe_executed = false;
  // The end of the last such attempt.
  SteadyTime open_since{};
};

// Thread-safe. Nothing blocks. What is passed in outlives the client, and the
// client outlives its tasks.
class S3Client {
 public:
  S3Client(HttpTransport& transport, Clock& clock, Executor& executor,
           const CredentialsProvider& credentials, Endpoint endpoint,
           std::string region, S3ClientOptions options);

  // Runs on the executor given at construction.
  Task<S3Outcome> Execute(S3Request request, CallContext context);

  const Endpoint& endpoint() const { return endpoint_; }
  const S3ClientOptions& options() const { return options_; }
  Executor& executor() { return executor_; }
  Clock& clock() { return clock_; }

 private:
  HttpRequest Sign(const S3Request& request, const CallContext& context,
                   bool sign_payload, std::string& payload_hash);
  S3Failure DeadlineExceeded(const S3Request& request,
                             const std::optional<S3Failure>& last) const;
  S3Failure Cancelled(const S3Request& request) const;
  S3Failure GivenUp(S3Failure failure, const RetryState& retry) const;
  std::string Subject(const S3Request& request) const;

  HttpTransport& transport_;
  Clock& clock_;
  Executor& executor_;
  const CredentialsProvider& credentials_;
  const Endpoint endpoint_;
  const S3ClientOptions options_;
  SigV4Signer signer_;
  RetryTokens tokens_;
  Jitter jitter_;
  // Set once the endpoint has turned an unsigned payload down and then taken a
  // signed one. Over TLS the payload is never signed.
  std::atomic<bool> sign_payloads_{false};
};

}  // namespace ckptfs
