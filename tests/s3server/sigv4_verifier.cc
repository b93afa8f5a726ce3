#include "s3server/sigv4_verifier.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <vector>

#include "s3server/digest.h"

namespace ckptfs::s3server {
namespace {

constexpr std::string_view kAlgorithm = "AWS4-HMAC-SHA256";
constexpr auto kMaxSkew = std::chrono::minutes(15);

std::vector<std::string> Split(std::string_view text, char separator) {
  std::vector<std::string> fields;
  while (true) {
    const std::size_t end = text.find(separator);
    fields.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return fields;
    text.remove_prefix(end + 1);
  }
}

S3Error Malformed(std::string message) {
  return {400, "AuthorizationHeaderMalformed",
          "The authorization header is malformed; " + std::move(message)};
}

struct Authorization {
  std::string access_key, date, region, service, signed_headers, signature;
};

// "AWS4-HMAC-SHA256 Credential=AK/date/region/s3/aws4_request,
//  SignedHeaders=a;b, Signature=hex", blanks after commas optional.
Reply<Authorization> ParseAuthorization(std::string_view header) {
  if (!header.starts_with(kAlgorithm)) {
    return Refuse(400, "InvalidRequest",
                  "The authorization mechanism you have provided is not "
                  "supported. Please use AWS4-HMAC-SHA256.");
  }
  header.remove_prefix(kAlgorithm.size());
  Authorization result;
  std::string scope;
  for (const std::string& field : Split(header, ',')) {
    const std::string_view pair = Trim(field);
    const std::size_t equals = pair.find('=');
    if (equals == std::string_view::npos) {
      return Refuse(Malformed("a field has no value."));
    }
    const std::string_view name = pair.substr(0, equals);
    const std::string_view value = pair.substr(equals + 1);
    if (name == "Credential") scope = value;
    if (name == "SignedHeaders") result.signed_headers = value;
    if (name == "Signature") result.signature = value;
  }
  // An access key may hold slashes; the scope's last four fields do not.
  std::vector<std::string> fields = Split(scope, '/');
  if (fields.size() < 5 || fields.back() != "aws4_request" ||
      result.signed_headers.empty() || result.signature.empty()) {
    return Refuse(Malformed("it needs Credential, SignedHeaders, Signature."));
  }
  const std::size_t n = fields.size();
  result.date = fields[n - 4];
  result.region = fields[n - 3];
  result.service = fields[n - 2];
  result.access_key = fields[0];
  for (std::size_t i = 1; i + 4 < n; ++i) {
    result.access_key += "/" + fields[i];
  }
  return result;
}

// Runs of blanks count as one.
std::string Squeeze(std::string_view value) {
  std::string out;
  for (const char c : Trim(value)) {
    if (c == ' ' && !out.empty() && out.back() == ' ') continue;
    out += c;
  }
  return out;
}

std::string CanonicalQuery(const Request& request) {
  std::vector<std::string> pairs;
  for (const auto& [name, value] : request.query) {
    pairs.push_back(PercentEncode(name, false) + "=" +
                    PercentEncode(value, false));
  }
  std::sort(pairs.begin(), pairs.end());
  std::string query;
  for (const std::string& pair : pairs) {
    if (!query.empty()) query += "&";
    query += pair;
  }
  return query;
}

}  // namespace

SigV4Verifier::SigV4Verifier(Credentials credentials, std::string region)
    : credentials_(std::move(credentials)), region_(std::move(region)) {}

std::optional<std::string> SigV4Verifier::CanonicalRequest(
    const Request& request, std::string_view signed_headers) {
  // S3 codes the path once and does not normalise it.
  const auto path = PercentDecode(request.path);
  if (!path) return std::nullopt;
  std::string canonical = request.method + "\n" + PercentEncode(*path, true) +
                          "\n" + CanonicalQuery(request) + "\n";
  for (const std::string& name : Split(signed_headers, ';')) {
    std::string values;
    bool found = false;
    for (const auto& [key, value] : request.headers) {
      if (key != name) continue;
      if (found) values += ",";
      values += Squeeze(value);
      found = true;
    }
    if (!found) return std::nullopt;
    canonical += name + ":" + values + "\n";
  }
  canonical += "\n" + std::string(signed_headers) + "\n" +
               request.HeaderOr("x-amz-content-sha256", "UNSIGNED-PAYLOAD");
  return canonical;
}

std::optional<S3Error> SigV4Verifier::Verify(const Request& request,
                                             SystemTime now) const {
  const std::string* header = request.Header("authorization");
  if (!header) return S3Error{403, "AccessDenied", "Access Denied"};
  const auto parsed = ParseAuthorization(*header);
  if (!parsed) return parsed.error();
  const Authorization& authorization = *parsed;

  // x-amz-date, or Date where the client cannot set it.
  std::optional<SystemTime> time;
  std::string stamp;
  if (const std::string* date = request.Header("x-amz-date")) {
    time = ParseAmzDate(*date);
    stamp = *date;
  } else if (const std::string* http_date = request.Header("date")) {
    time = ParseHttpDate(*http_date);
    if (time) {
      for (const char c : IsoDate(*time).substr(0, 19)) {
        if (c != '-' && c != ':') stamp += c;
      }
      stamp += "Z";
    }
  }
  if (!time) {
    return S3Error{403, "AccessDenied",
                   "AWS authentication requires a valid Date or x-amz-date "
                   "header"};
  }
  if (!request.Header("x-amz-content-sha256")) {
    return S3Error{400, "InvalidRequest",
                   "Missing required header for this request: "
                   "x-amz-content-sha256"};
  }
  if (authorization.access_key != credentials_.access_key) {
    return S3Error{403,
                   "InvalidAccessKeyId",
                   "The AWS Access Key Id you provided does not exist in our "
                   "records.",
                   {{"AWSAccessKeyId", authorization.access_key}}};
  }
  if (std::chrono::abs(now - *time) > kMaxSkew) {
    return S3Error{403,
                   "RequestTimeTooSkewed",
                   "The difference between the request time and the current "
                   "time is too large.",
                   {{"RequestTime", stamp},
                    {"ServerTime", IsoDate(now)},
                    {"MaxAllowedSkewMilliseconds", "900000"}}};
  }
  if (authorization.date != stamp.substr(0, 8)) {
    return Malformed("the date in the credential scope is not the request's.");
  }
  if (authorization.service != "s3") {
    return Malformed("incorrect service \"" + authorization.service +
                     "\". This endpoint belongs to \"s3\".");
  }
  if (!region_.empty() && authorization.region != region_) {
    S3Error error = Malformed("the region '" + authorization.region +
                              "' is wrong; expecting '" + region_ + "'");
    error.details = {{"Region", region_}};
    return error;
  }

  const std::vector<std::string> names =
      Split(authorization.signed_headers, ';');
  const auto is_signed = [&names](std::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  for (const auto& [name, value] : request.headers) {
    if ((name == "host" || name.starts_with("x-amz-")) && !is_signed(name)) {
      return S3Error{403,
                     "AccessDenied",
                     "There were headers present in the request which were "
                     "not signed",
                     {{"HeadersNotSigned", name}}};
    }
  }
  const auto canonical =
      CanonicalRequest(request, authorization.signed_headers);
  if (!canonical) {
    return S3Error{403, "SignatureDoesNotMatch",
                   "A header named in SignedHeaders is absent."};
  }
  const std::string scope = authorization.date + "/" + authorization.region +
                            "/" + authorization.service + "/aws4_request";
  const std::string string_to_sign = std::string(kAlgorithm) + "\n" + stamp +
                                     "\n" + scope + "\n" +
                                     Hex(Sha256(*canonical));
  std::string key =
      HmacSha256("AWS4" + credentials_.secret_key, authorization.date);
  key = HmacSha256(key, authorization.region);
  key = HmacSha256(key, authorization.service);
  key = HmacSha256(key, "aws4_request");
  const std::string signature = Hex(HmacSha256(key, string_to_sign));
  if (signature.size() != authorization.signature.size() ||
      CRYPTO_memcmp(signature.data(), authorization.signature.data(),
                    signature.size()) != 0) {
    return S3Error{403,
                   "SignatureDoesNotMatch",
                   "The request signature we calculated does not match the "
                   "signature you provided. Check your key and signing method.",
                   {{"AWSAccessKeyId", authorization.access_key},
                    {"StringToSign", string_to_sign},
                    {"CanonicalRequest", *canonical}}};
  }

  // After the signature, as S3: a token matters only with its own key.
  const std::string token = request.HeaderOr("x-amz-security-token", "");
  if (token == kExpiredToken) {
    return S3Error{400, "ExpiredToken", "The provided token has expired."};
  }
  if (token != credentials_.session_token) {
    return S3Error{400, "InvalidToken",
                   "The provided token is malformed or otherwise invalid."};
  }
  return std::nullopt;
}

}  // namespace ckptfs::s3server
