#include "s3/sigv4.h"

#include <algorithm>
#include <cctype>

#include "s3/digest.h"
#include "s3/uri.h"

namespace ckptfs {

namespace {

std::string Lower(std::string_view s) {
  std::string out(s);
  for (char& c : out) {
    c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return out;
}

// Leading and trailing spaces go, runs of spaces become one.
std::string CanonicalValue(std::string_view value) {
  std::string out;
  bool pending = false;
  for (const char c : value) {
    if (c == ' ' || c == '\t') {
      pending = !out.empty();
      continue;
    }
    if (pending) out += ' ';
    pending = false;
    out += c;
  }
  return out;
}

std::map<std::string, std::string> CanonicalHeaders(
    const HttpHeaders& headers) {
  std::map<std::string, std::string> out;
  for (const auto& [name, value] : headers) {
    std::string& slot = out[Lower(name)];
    if (!slot.empty()) slot += ',';
    slot += CanonicalValue(value);
  }
  return out;
}

}  // namespace

std::string CanonicalQuery(
    std::vector<std::pair<std::string, std::string>> query) {
  for (auto& [name, value] : query) {
    name = UriEncode(name, false);
    value = UriEncode(value, false);
  }
  std::sort(query.begin(), query.end());
  std::string out;
  for (const auto& [name, value] : query) {
    if (!out.empty()) out += '&';
    out += name + "=" + value;
  }
  return out;
}

std::string SignedHeaderNames(const HttpHeaders& headers) {
  std::string out;
  for (const auto& [name, _] : CanonicalHeaders(headers)) {
    if (!out.empty()) out += ';';
    out += name;
  }
  return out;
}

std::string CanonicalRequest(const SignableRequest& request) {
  std::string out = request.method + "\n" + request.encoded_path + "\n" +
                    CanonicalQuery(request.query) + "\n";
  for (const auto& [name, value] : CanonicalHeaders(request.headers)) {
    out += name + ":" + value + "\n";
  }
  out +=
      "\n" + SignedHeaderNames(request.headers) + "\n" + request.payload_hash;
  return out;
}

std::string CredentialScope(std::string_view amz_date,
                            std::string_view region) {
  return std::string(amz_date.substr(0, 8)) + "/" + std::string(region) +
         "/s3/aws4_request";
}

std::string StringToSign(std::string_view amz_date, std::string_view region,
                         std::string_view canonical_request) {
  return "AWS4-HMAC-SHA256\n" + std::string(amz_date) + "\n" +
         CredentialScope(amz_date, region) + "\n" +
         Hex(AsBytes(Sha256(canonical_request)));
}

std::string SigningKey(std::string_view secret, std::string_view date,
                       std::string_view region) {
  Sha256Digest key = HmacSha256("AWS4" + std::string(secret), date);
  key = HmacSha256(AsBytes(key), region);
  key = HmacSha256(AsBytes(key), "s3");
  key = HmacSha256(AsBytes(key), "aws4_request");
  return std::string(AsBytes(key));
}

std::string Signature(std::string_view signing_key,
                      std::string_view string_to_sign) {
  return Hex(AsBytes(HmacSha256(signing_key, string_to_sign)));
}

void SigV4Signer::Sign(SignableRequest& request, const Credentials& credentials,
                       WallClockTime now) {
  const std::string amz_date = FormatAmzDate(now);
  request.headers.Set("x-amz-date", amz_date);
  request.headers.Set("x-amz-content-sha256", request.payload_hash);
  if (!credentials.session_token.empty()) {
    request.headers.Set("x-amz-security-token", credentials.session_token);
  }
  const std::string key = KeyFor(credentials, amz_date.substr(0, 8));
  const std::string signature = Signature(
      key, StringToSign(amz_date, region_, CanonicalRequest(request)));
  request.headers.Set(
      "Authorization",
      "AWS4-HMAC-SHA256 Credential=" + credentials.access_key_id + "/" +
          CredentialScope(amz_date, region_) + ",SignedHeaders=" +
          SignedHeaderNames(request.headers) + ",Signature=" + signature);
}

std::string SigV4Signer::KeyFor(const Credentials& credentials,
                                const std::string& date) {
  {
    MutexLock lock(mu_);
    if (cached_date_ == date &&
        cached_secret_ == credentials.secret_access_key) {
      return cached_key_;
    }
  }
  std::string key = SigningKey(credentials.secret_access_key, date, region_);
  MutexLock lock(mu_);
  cached_date_ = date;
  cached_secret_ = credentials.secret_access_key;
  cached_key_ = key;
  return key;
}

}  // namespace ckptfs
