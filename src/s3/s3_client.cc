#include "s3/s3_client.h"

#include <utility>

#include "common/log.h"
#include "s3/digest.h"
#include "s3/interruptible_sleep.h"
#include "s3/range_download.h"

namespace ckptfs {

S3Client::S3Client(HttpTransport& transport, Clock& clock, Executor& executor,
                   const CredentialsProvider& credentials, Endpoint endpoint,
                   std::string region, S3ClientOptions options)
    : transport_(transport),
      clock_(clock),
      executor_(executor),
      credentials_(credentials),
      endpoint_(std::move(endpoint)),
      options_(std::move(options)),
      signer_(std::move(region)),
      jitter_(options_.jitter_seed) {}

std::string S3Client::Subject(const S3Request& request) const {
  return request.operation + " " + endpoint_.Uri(request.key);
}

HttpRequest S3Client::Sign(const S3Request& request, const CallContext& context,
                           bool sign_payload, std::string& payload_hash) {
  HttpRequest http;
  http.method = request.method;
  http.body = request.body;
  http.deadline = context.deadline;
  http.stop = context.stop;
  http.connect_timeout = options_.connect_timeout;
  http.stall_timeout = options_.stall_timeout;
  http.first_byte_timeout = request.method == "GET" || request.method == "HEAD"
                                ? options_.get_first_byte_timeout
                                : options_.put_first_byte_timeout;
  if (request.slow_answer) {
    // White space may arrive while the server works, or nothing at all.
    http.first_byte_timeout = http.stall_timeout =
        std::chrono::ceil<std::chrono::milliseconds>(context.patience);
  }

  SignableRequest signable;
  signable.method = request.method;
  signable.encoded_path = endpoint_.Path(request.key);
  signable.query = request.query;
  signable.headers = request.headers;
  if (request.download != nullptr) {
    request.download->Prepare(signable.headers, http.destination);
    http.observer = request.download;
  }
  signable.headers.Set("host", endpoint_.host());
  for (const auto& [name, value] : options_.headers.always) {
    signable.headers.Set(name, value);
  }
  if (request.creates_object) {
    for (const auto& [name, value] : options_.headers.creating) {
      signable.headers.Set(name, value);
    }
  }
  if (request.body.size() == 0) {
    signable.payload_hash = kEmptySha256;
  } else if (sign_payload) {
    if (payload_hash.empty()) {
      payload_hash = Hex(AsBytes(Sha256(request.body)));
    }
    signable.payload_hash = payload_hash;
  } else {
    signable.payload_hash = kUnsignedPayload;
  }
  const std::shared_ptr<const Credentials> credentials = credentials_.Get();
  if (credentials != nullptr) {
    signer_.Sign(signable, *credentials, clock_.WallNow());
  }

  http.url = endpoint_.origin() + signable.encoded_path;
  const std::string query = CanonicalQuery(signable.query);
  if (!query.empty()) http.url += "?" + query;
  http.headers = std::move(signable.headers);
  return http;
}

S3Failure S3Client::DeadlineExceeded(
    const S3Request& request, const std::optional<S3Failure>& last) const {
  Error::Detail d;
  d.message = Subject(request) + ": the time allowed for it is over";
  d.key = request.key;
  if (last.has_value()) {
    d.message += "; the last failure was: " + last->error.message();
    d.http_status = last->error.http_status();
    d.s3_code = last->error.s3_code();
    d.request_id = last->error.request_id();
  }
  return {ErrorClass::kTerminal,
          Error(ErrorCode::kDeadlineExceeded, std::move(d)), std::nullopt};
}

S3Failure S3Client::Cancelled(const S3Request& request) const {
  Error::Detail d;
  d.message = Subject(request) + ": cancelled";
  d.key = request.key;
  return {ErrorClass::kTerminal, Error(ErrorCode::kCancelled, std::move(d)),
          std::nullopt};
}

S3Failure S3Client::GivenUp(S3Failure failure, const RetryState& retry) const {
  if (retry.failures() < 2) return failure;
  Error::Detail d;
  d.message = failure.error.message() + "; given up after " +
              std::to_string(retry.failures()) + " attempts in " +
              std::to_string(std::chrono::duration_cast<std::chrono::seconds>(
                                 clock_.Now() - retry.start())
                                 .count()) +
              " s";
  d.http_status = failure.error.http_status();
  d.s3_code = failure.error.s3_code();
  d.request_id = failure.error.request_id();
  d.key = failure.error.key();
  failure.error = Error(failure.error.code(), std::move(d));
  return failure;
}

Task<S3Outcome> S3Client::Execute(S3Request given, CallContext context) {
  // A local, so that the caller's memory is let go of when the body ends;
  // parameters live as long as the coroutine's frame.
  S3Request request = std::move(given);
  RetryState retry(options_.retry, tokens_, jitter_, context.patience,
                   clock_.Now());
  S3Outcome outcome;
  bool sign_payload = !endpoint_.tls() && sign_payloads_;
  std::string payload_hash;
  std::optional<S3Failure> last;
  while (true) {
    if (context.stop.stop_requested()) {
      outcome.failure = Cancelled(request);
      co_return outcome;
    }
    Future<HttpResponse> reply =
        transport_.Send(Sign(request, context, sign_payload, payload_hash));
    Result<HttpResponse> received = co_await std::move(reply);
    const SteadyTime now = clock_.Now();
    if (!received.has_value()) {
      outcome.failure =
          S3Failure{ErrorClass::kTerminal, received.error(), std::nullopt};
      co_return outcome;
    }
    outcome.response = *std::move(received);
    retry.Waited(outcome.response.queued);
    outcome.failure =
        Classify(request, outcome.response, endpoint_, clock_.WallNow());
    if (request.download != nullptr) {
      outcome.failure = request.download->Absorb(
          outcome.response, std::move(outcome.failure), Subject(request));
      if (request.download->progressed()) retry.Progressed(now);
    }
    if (!outcome.failure.has_value()) {
      retry.Succeeded();
      if (sign_payload && request.body.size() > 0) sign_payloads_ = true;
      outcome.maybe_executed = false;
      co_return outcome;
    }
    retry.Sent(outcome.response.bytes_sent, now);
    if (outcome.failure->maybe_executed || outcome.response.replayed) {
      outcome.maybe_executed = true;
      outcome.open_since = now;
    }
    if (outcome.failure->error.code() == ErrorCode::kDeadlineExceeded) {
      if (last.has_value()) outcome.failure = DeadlineExceeded(request, last);
      co_return outcome;
    }
    const ErrorClass error_class = outcome.failure->error_class;
    if (error_class == ErrorClass::kPayloadSigning && !sign_payload &&
        !endpoint_.tls() && request.body.size() > 0) {
      sign_payload = true;
      continue;
    }
    if (Decide(error_class, request.idempotency, outcome.maybe_executed) !=
        RetryAction::kRetry) {
      co_return outcome;
    }
    const std::optional<Duration> delay =
        retry.NextDelay(*outcome.failure, now);
    if (!delay.has_value()) {
      // radosgw answers 500 for good to a Complete that it has already done.
      outcome.failure = GivenUp(*std::move(outcome.failure), retry);
      co_return outcome;
    }
    if (context.deadline - now <= *delay) {
      outcome.failure = DeadlineExceeded(request, outcome.failure);
      co_return outcome;
    }
    if (LogEnabled(LogLevel::kDebug)) {
      LogDebug("will retry: " + outcome.failure->error.ToString());
    }
    last = outcome.failure;
    InterruptibleSleep sleep(clock_, *delay, executor_, context.stop);
    Future<void> woken = sleep.Done();
    Result<void> slept = co_await std::move(woken);
    if (!slept.has_value()) {
      outcome.failure = Cancelled(request);
      co_return outcome;
    }
  }
}

}  // namespace ckptfs
