#include "s3/s3_error.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <utility>

#include "s3/xml.h"

namespace ckptfs {

namespace {

using std::chrono::milliseconds;

struct CodeEntry {
  std::string_view s3_code;
  ErrorClass error_class;
  ErrorCode code;
};

// Codes whose meaning does not follow from the status alone.
constexpr CodeEntry kCodes[] = {
    {"InternalError", ErrorClass::kTransient, ErrorCode::kUnavailable},
    {"InternalErrors", ErrorClass::kTransient, ErrorCode::kUnavailable},
    {"ServiceUnavailable", ErrorClass::kTransient, ErrorCode::kUnavailable},
    {"RequestTimeout", ErrorClass::kTransient, ErrorCode::kUnavailable},
    {"IncompleteBody", ErrorClass::kTransient, ErrorCode::kUnavailable},
    {"OperationAborted", ErrorClass::kTransient, ErrorCode::kConflict},
    {"XMinioServerNotInitialized", ErrorClass::kTransient,
     ErrorCode::kUnavailable},
    {"SlowDown", ErrorClass::kThrottled, ErrorCode::kUnavailable},
    {"TooManyRequests", ErrorClass::kThrottled, ErrorCode::kUnavailable},
    {"Throttling", ErrorClass::kThrottled, ErrorCode::kUnavailable},
    {"ThrottlingException", ErrorClass::kThrottled, ErrorCode::kUnavailable},
    {"RequestLimitExceeded", ErrorClass::kThrottled, ErrorCode::kUnavailable},
    {"BandwidthLimitExceeded", ErrorClass::kThrottled, ErrorCode::kUnavailable},
    {"KMS.ThrottlingException", ErrorClass::kThrottled,
     ErrorCode::kUnavailable},
    {"BadDigest", ErrorClass::kCorrupted, ErrorCode::kDataLoss},
    {"XAmzContentChecksumMismatch", ErrorClass::kCorrupted,
     ErrorCode::kDataLoss},
    {"ConditionalRequestConflict", ErrorClass::kConflict, ErrorCode::kConflict},
    {"PreconditionFailed", ErrorClass::kCondition,
     ErrorCode::kPreconditionFailed},
    {"NoSuchUpload", ErrorClass::kGone, ErrorCode::kNotFound},
    {"NoSuchKey", ErrorClass::kTerminal, ErrorCode::kNotFound},
    {"NoSuchBucket", ErrorClass::kTerminal, ErrorCode::kNotFound},
    {"AccessDenied", ErrorClass::kTerminal, ErrorCode::kPermissionDenied},
    {"AllAccessDisabled", ErrorClass::kTerminal, ErrorCode::kPermissionDenied},
    {"SignatureDoesNotMatch", ErrorClass::kTerminal,
     ErrorCode::kUnauthenticated},
    {"InvalidAccessKeyId", ErrorClass::kTerminal, ErrorCode::kUnauthenticated},
    {"ExpiredToken", ErrorClass::kTerminal, ErrorCode::kUnauthenticated},
    {"InvalidToken", ErrorClass::kTerminal, ErrorCode::kUnauthenticated},
    {"TokenRefreshRequired", ErrorClass::kTerminal,
     ErrorCode::kUnauthenticated},
    {"RequestTimeTooSkewed", ErrorClass::kTerminal,
     ErrorCode::kUnauthenticated},
    {"RequestExpired", ErrorClass::kTerminal, ErrorCode::kUnauthenticated},
    {"EntityTooLarge", ErrorClass::kTerminal, ErrorCode::kTooLarge},
    {"KeyTooLongError", ErrorClass::kTerminal, ErrorCode::kNameTooLong},
    {"QuotaExceeded", ErrorClass::kTerminal, ErrorCode::kResourceExhausted},
    {"NotImplemented", ErrorClass::kTerminal, ErrorCode::kUnsupported},
    {"PermanentRedirect", ErrorClass::kTerminal, ErrorCode::kInvalidArgument},
    {"TemporaryRedirect", ErrorClass::kTerminal, ErrorCode::kInvalidArgument},
    {"AuthorizationHeaderMalformed", ErrorClass::kTerminal,
     ErrorCode::kInvalidArgument},
    {"IllegalLocationConstraintException", ErrorClass::kTerminal,
     ErrorCode::kInvalidArgument},
};

const CodeEntry* FindCode(std::string_view s3_code) {
  for (const CodeEntry& e : kCodes) {
    if (e.s3_code == s3_code) return &e;
  }
  return nullptr;
}

// The facts of an error reply.
struct Reply {
  int status = 0;
  std::string code;
  std::string message;
  std::string region;
  std::string request_id;
};

Reply ReadReply(const HttpResponse& response) {
  Reply r;
  r.status = response.status;
  r.request_id = response.headers.Get("x-amz-request-id");
  r.region = response.headers.Get("x-amz-bucket-region");
  if (response.body.empty()) return r;
  const Result<XmlElement> xml = ParseXml(response.body);
  // A proxy may answer with HTML: the status has to do then.
  if (!xml.has_value() || xml->name != "Error") return r;
  r.code = xml->ChildText("Code");
  r.message = xml->ChildText("Message");
  if (r.region.empty()) r.region = xml->ChildText("Region");
  if (r.request_id.empty()) r.request_id = xml->ChildText("RequestId");
  return r;
}

std::string Subject(const S3Request& request, const Endpoint& endpoint) {
  return request.operation + " " + endpoint.Uri(request.key);
}

std::optional<milliseconds> RetryAfter(const HttpHeaders& headers) {
  const auto number = [](std::string_view text) -> std::optional<long> {
    long n = 0;
    const auto [end, error] =
        std::from_chars(text.data(), text.data() + text.size(), n);
    if (error != std::errc() || end != text.data() + text.size() || n < 0) {
      return std::nullopt;
    }
    return n;
  };
  if (const auto ms = number(headers.Get("x-amz-retry-after"))) {
    return milliseconds(*ms);
  }
  if (const auto s = number(headers.Get("Retry-After"))) {
    return std::chrono::seconds(std::min(*s, 86400L));
  }
  return std::nullopt;
}

std::string SkewText(const HttpResponse& response, WallClockTime now) {
  const auto server = ParseHttpDate(response.headers.Get("Date"));
  if (!server.has_value()) return "this machine's clock is wrong";
  const auto skew =
      std::chrono::duration_cast<std::chrono::seconds>(now - *server).count();
  return "this machine's clock is " + std::to_string(std::abs(skew)) + " s " +
         (skew < 0 ? "behind" : "ahead of") + " the server's";
}

constexpr int kProxyAuthenticationRequired = 407;

std::string ProxyAdvice(int status) {
  return status == kProxyAuthenticationRequired
             ? "; give it a user and a password: http://USER:PASSWORD@HOST:PORT"
             : "; is the endpoint to be reached without it (NO_PROXY)?";
}

// What the person who reads the error can do about it.
std::string Advice(const Reply& reply, const HttpResponse& response,
                   const Endpoint& endpoint, WallClockTime now) {
  const std::string& c = reply.code;
  if (c == "NoSuchBucket") {
    return "bucket \"" + endpoint.bucket() + "\" does not exist at " +
           endpoint.origin() +
           "; check its name and the endpoint "
           "(--endpoint-url, AWS_ENDPOINT_URL)";
  }
  if (c == "RequestTimeTooSkewed" || c == "RequestExpired") {
    return SkewText(response, now) + "; synchronise it (NTP)";
  }
  if (c == "SignatureDoesNotMatch") {
    return "check the secret access key";
  }
  if (c == "InvalidAccessKeyId") return "check the access key id";
  if (c == "ExpiredToken" || c == "InvalidToken" ||
      c == "TokenRefreshRequired") {
    return "get new temporary credentials";
  }
  if (reply.status == 301 || reply.status == 307 || c == "PermanentRedirect" ||
      c == "AuthorizationHeaderMalformed" ||
      c == "IllegalLocationConstraintException") {
    if (!reply.region.empty()) {
      return "the server reports region \"" + reply.region +
             "\"; use --region " + reply.region + " or AWS_REGION";
    }
    return "the bucket is in another region or at another endpoint; check "
           "both (--region or AWS_REGION, --endpoint-url or AWS_ENDPOINT_URL)";
  }
  if (!response.proxy.empty() && c.empty() &&
      (reply.status == kProxyAuthenticationRequired || reply.status >= 500)) {
    return "this may be the answer of the proxy " + response.proxy +
           ProxyAdvice(reply.status);
  }
  if (reply.status == 403) {
    return "the credentials lack permission for this (a policy of the bucket "
           "or the user)";
  }
  return "";
}

Error MakeError(ErrorCode code, std::string message, int status,
                std::string s3_code, std::string request_id, std::string key) {
  Error::Detail d;
  d.message = std::move(message);
  d.http_status = status;
  d.s3_code = std::move(s3_code);
  d.request_id = std::move(request_id);
  d.key = std::move(key);
  return Error(code, std::move(d));
}

S3Failure TransportError(const S3Request& request, const HttpResponse& response,
                         const Endpoint& endpoint) {
  ErrorClass c = ErrorClass::kLost;
  ErrorCode code = ErrorCode::kUnavailable;
  std::string s3_code;
  std::string text = response.failure_text;
  const std::string where =
      endpoint.origin() +
      (response.proxy.empty() ? "" : " through the proxy " + response.proxy);
  switch (response.failure) {
    case TransportFailure::kCancelled:
      c = ErrorClass::kTerminal;
      code = ErrorCode::kCancelled;
      break;
    case TransportFailure::kDeadline:
      c = ErrorClass::kTerminal;
      code = ErrorCode::kDeadlineExceeded;
      break;
    case TransportFailure::kResolve:
    case TransportFailure::kConnect:
      c = ErrorClass::kNotSent;
      text = "cannot reach " + where + " (" + text +
             "); check the endpoint (--endpoint-url, AWS_ENDPOINT_URL)" +
             (response.proxy.empty()
                  ? " and the network"
                  : ", the proxy (http_proxy, https_proxy, NO_PROXY) and the "
                    "network");
      break;
    case TransportFailure::kProxy:
      // A proxy on its way up answers 5xx.
      c = response.proxy_status == 0 || response.proxy_status >= 500
              ? ErrorClass::kNotSent
              : ErrorClass::kTerminal;
      if (c == ErrorClass::kTerminal) {
        code = response.proxy_status == kProxyAuthenticationRequired
                   ? ErrorCode::kUnauthenticated
                   : ErrorCode::kPermissionDenied;
      }
      text = "the proxy " + response.proxy + " does not connect to " +
             endpoint.origin() + " (" + text + ")" +
             ProxyAdvice(response.proxy_status);
      break;
    case TransportFailure::kTls:
      c = ErrorClass::kHandshake;
      text = "TLS with " + where + " failed (" + text +
             "); does the endpoint speak https?";
      break;
    case TransportFailure::kCertificate:
      c = ErrorClass::kTerminal;
      s3_code = "CertificateError";
      text = "the certificate of " + endpoint.origin() + " is not trusted (" +
             text + "); give its CA with --ca-file or AWS_CA_BUNDLE";
      break;
    case TransportFailure::kFirstByteTimeout:
    case TransportFailure::kStallTimeout:
    case TransportFailure::kBroken:
    case TransportFailure::kShortBody:
      text = "the connection to " + where + " failed (" + text + ")";
      break;
    case TransportFailure::kBodyTooLarge:
    case TransportFailure::kRefused:
    case TransportFailure::kMalformed:
      c = ErrorClass::kTerminal;
      code = ErrorCode::kDataLoss;
      text = endpoint.origin() + " sent an unusable reply (" + text + ")";
      break;
    case TransportFailure::kNone:
    case TransportFailure::kInternal:
      c = ErrorClass::kTerminal;
      code = ErrorCode::kInternal;
      break;
  }
  return {c,
          MakeError(code, Subject(request, endpoint) + ": " + text,
                    response.proxy_status, std::move(s3_code),
                    std::string(response.headers.Get("x-amz-request-id")),
                    request.key),
          std::nullopt, response.request_sent};
}

ErrorClass ClassOfStatus(int status) {
  switch (status) {
    case 408:
    case 425:
    case 500:
    case 502:
    case 504: return ErrorClass::kTransient;
    case 429:
    case 503:  // without a code, "Slow down" of a proxy or of Ceph
    case 509: return ErrorClass::kThrottled;
    case 412: return ErrorClass::kCondition;
    default:
      return status > 500 && status != 501 && status != 505
                 ? ErrorClass::kTransient
                 : ErrorClass::kTerminal;
  }
}

// A 5xx may come from a front end that lost the back end's answer. What S3
// itself throttles was turned away, but a 503 without an S3 code is a proxy's:
// Envoy and its like send it also where the server closed the connection in
// mid-answer.
bool OutcomeOpen(ErrorClass error_class, const Reply& r) {
  return error_class == ErrorClass::kTransient ||
         (error_class == ErrorClass::kThrottled && r.code.empty() &&
          r.status == 503);
}

// Answers to UNSIGNED-PAYLOAD from stores that insist on a hash over http.
bool WantsSignedPayload(const Reply& r) {
  return (r.status == 400 || r.status == 403) &&
         (r.code == "XAmzContentSHA256Mismatch" || r.code == "InvalidRequest");
}

}  // namespace

ErrorClass ClassOfCode(std::string_view s3_code, int status) {
  const CodeEntry* e = FindCode(s3_code);
  return e != nullptr ? e->error_class : ClassOfStatus(status);
}

ErrorCode CodeFor(std::string_view s3_code, int status) {
  if (const CodeEntry* e = FindCode(s3_code)) return e->code;
  switch (status) {
    case 301:
    case 307: return ErrorCode::kInvalidArgument;
    case 401: return ErrorCode::kUnauthenticated;
    case 403: return ErrorCode::kPermissionDenied;
    case kProxyAuthenticationRequired: return ErrorCode::kUnauthenticated;
    case 404: return ErrorCode::kNotFound;
    case 409: return ErrorCode::kConflict;
    case 412: return ErrorCode::kPreconditionFailed;
    case 413: return ErrorCode::kTooLarge;
    case 405:
    case 501: return ErrorCode::kUnsupported;
    case 429:
    case 503:
    case 509: return ErrorCode::kUnavailable;
    default:
      return status >= 500 ? ErrorCode::kUnavailable
                           : ErrorCode::kInvalidArgument;
  }
}

// Of a reply with status 2xx.
bool IsPlainSuccess(const S3Request& request, const HttpResponse& response) {
  if (!request.expected_root.empty()) {
    const Result<XmlElement> xml = ParseXml(response.body);
    return xml.has_value() && xml->name == request.expected_root;
  }
  if (request.needs_etag && response.headers.Get("ETag").empty()) return false;
  if (!request.answers_empty || response.body.empty()) return true;
  const Result<XmlElement> xml = ParseXml(response.body);
  return !xml.has_value() || xml->name != "Error";
}

std::optional<S3Failure> Classify(const S3Request& request,
                                  const HttpResponse& response,
                                  const Endpoint& endpoint, WallClockTime now) {
  if (!response.complete()) {
    return TransportError(request, response, endpoint);
  }
  const bool success = response.status >= 200 && response.status < 300;
  if (success && request.needs_length && !ContentLength(response.headers)) {
    // Without it an object would pass for an empty one.
    return S3Failure{
        ErrorClass::kCorrupted,
        MalformedReply(request, response, endpoint, "no Content-Length"),
        std::nullopt};
  }
  if (success && IsPlainSuccess(request, response)) return std::nullopt;

  Reply reply;
  if (success) {
    reply = ReadReply(response);
    if (reply.code.empty()) {
      // Headers came, the outcome did not.
      return S3Failure{
          ErrorClass::kLost,
          MakeError(ErrorCode::kUnavailable,
                    Subject(request, endpoint) +
                        ": the server's answer ended before its result",
                    response.status, "", reply.request_id, request.key),
          std::nullopt, true};
    }
    reply.status = 500;  // what the server would have sent at the start
  } else {
    reply = ReadReply(response);
  }

  ErrorClass c = ClassOfCode(reply.code, reply.status);
  ErrorCode code = CodeFor(reply.code, reply.status);
  if (reply.code.empty() && reply.status == 404 && request.requires_existing) {
    code = ErrorCode::kPreconditionFailed;
    c = ErrorClass::kCondition;
  }
  if (request.requires_existing && reply.code == "NoSuchKey") {
    code = ErrorCode::kPreconditionFailed;
    c = ErrorClass::kCondition;
  }
  if (request.idempotency == Idempotency::kReconcile &&
      !request.conditional_write && reply.status == 404 &&
      c == ErrorClass::kTerminal && reply.code != "NoSuchBucket") {
    c = ErrorClass::kGone;  // stores that do not say NoSuchUpload
  }
  if (WantsSignedPayload(reply)) c = ErrorClass::kPayloadSigning;

  std::string text = reply.message;
  if (text.empty()) {
    text = success
               ? "the server failed after it had begun to answer"
               : "the server answered HTTP " + std::to_string(response.status);
  }
  while (text.ends_with('.')) text.pop_back();
  const std::string advice = Advice(reply, response, endpoint, now);
  if (!advice.empty()) text += "; " + advice;
  return S3Failure{
      c,
      MakeError(code, Subject(request, endpoint) + ": " + text, response.status,
                reply.code, reply.request_id, request.key),
      RetryAfter(response.headers), OutcomeOpen(c, reply)};
}

std::optional<std::uint64_t> ContentLength(const HttpHeaders& headers) {
  const std::string_view text = headers.Get("Content-Length");
  std::uint64_t length = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), length);
  if (text.empty() || error != std::errc() ||
      end != text.data() + text.size()) {
    return std::nullopt;
  }
  return length;
}

Error MalformedReply(const S3Request& request, const HttpResponse& response,
                     const Endpoint& endpoint, std::string_view why) {
  return MakeError(
      ErrorCode::kDataLoss,
      Subject(request, endpoint) + ": unusable reply: " + std::string(why),
      response.status, "",
      std::string(response.headers.Get("x-amz-request-id")), request.key);
}

}  // namespace ckptfs
