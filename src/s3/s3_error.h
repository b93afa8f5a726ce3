// From a reply to what it means: a class for the retry table and an Error for
// the caller. Branches on status and S3 code, never on message text.
#pragma once

#include <ckptfs/error.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "http/http_transport.h"
#include "s3/endpoint.h"
#include "s3/s3_request.h"
#include "s3/time_format.h"

namespace ckptfs {

enum class ErrorClass {
  kNotSent,         // no connection: the server has not seen the request
  kHandshake,       // TLS failed, but not over the certificate
  kLost,            // sent, but the reply did not arrive: outcome unknown
  kTransient,       // the server failed: 5xx and their like
  kThrottled,       // the server asks for fewer requests
  kCorrupted,       // bytes were damaged on the way
  kConflict,        // 409: a concurrent operation on the key
  kCondition,       // 412: a condition did not hold
  kGone,            // NoSuchUpload
  kPayloadSigning,  // the endpoint wants a signed payload
  kTerminal,        // repeating it changes nothing
};

struct S3Failure {
  ErrorClass error_class = ErrorClass::kTerminal;
  Error error;
  std::optional<std::chrono::milliseconds> retry_after;
  // The server may have carried the request out all the same.
  bool maybe_executed = false;
};

// Nullopt: a success. `now` is the local time, to measure clock skew with.
std::optional<S3Failure> Classify(const S3Request& request,
                                  const HttpResponse& response,
                                  const Endpoint& endpoint, WallClockTime now);

// The class of an S3 code in a per-key result (DeleteObjects) or in the body
// of a 200.
ErrorClass ClassOfCode(std::string_view s3_code, int status);
ErrorCode CodeFor(std::string_view s3_code, int status);

// Nullopt: there is none, or not a number.
std::optional<std::uint64_t> ContentLength(const HttpHeaders& headers);

// What went wrong reading a 2xx reply: kDataLoss, with the request id.
Error MalformedReply(const S3Request& request, const HttpResponse& response,
                     const Endpoint& endpoint, std::string_view why);

}  // namespace ckptfs
