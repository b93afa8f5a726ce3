// AWS Signature Version 4 for S3: a pure function of request, credentials and
// time. Specification: "Signature Calculations for the Authorization Header"
// in the Amazon S3 API reference.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/mutex.h"
#include "http/http_transport.h"
#include "s3/credentials/credentials_provider.h"
#include "s3/time_format.h"

namespace ckptfs {

inline constexpr char kUnsignedPayload[] = "UNSIGNED-PAYLOAD";
// SHA-256 of nothing.
inline constexpr char kEmptySha256[] =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

// What is signed. Every header given here is signed; leave out those that a
// proxy may change.
struct SignableRequest {
  std::string method;
  std::string encoded_path;  // exactly as sent, '/' included
  std::vector<std::pair<std::string, std::string>> query;  // not encoded
  HttpHeaders headers;       // with host and x-amz-date
  std::string payload_hash;  // hex SHA-256 or kUnsignedPayload
};

// The query string as signed and as sent: encoded, sorted by name and value.
std::string CanonicalQuery(
    std::vector<std::pair<std::string, std::string>> query);
std::string SignedHeaderNames(const HttpHeaders& headers);
std::string CanonicalRequest(const SignableRequest& request);
// "20130524/us-east-1/s3/aws4_request"
std::string CredentialScope(std::string_view amz_date, std::string_view region);
std::string StringToSign(std::string_view amz_date, std::string_view region,
                         std::string_view canonical_request);
std::string SigningKey(std::string_view secret, std::string_view date,
                       std::string_view region);
std::string Signature(std::string_view signing_key,
                      std::string_view string_to_sign);

// Signs with a cached key: the key changes once a day and its derivation costs
// more than the rest. Thread-safe.
class SigV4Signer {
 public:
  explicit SigV4Signer(std::string region) : region_(std::move(region)) {}

  // Adds x-amz-date, x-amz-content-sha256, x-amz-security-token and
  // Authorization to `request.headers`, which must hold host.
  void Sign(SignableRequest& request, const Credentials& credentials,
            WallClockTime now);

  const std::string& region() const { return region_; }

 private:
  std::string KeyFor(const Credentials& credentials, const std::string& date);

  const std::string region_;
  Mutex mu_;
  std::string cached_date_ CKPTFS_GUARDED_BY(mu_);
  std::string cached_secret_ CKPTFS_GUARDED_BY(mu_);
  std::string cached_key_ CKPTFS_GUARDED_BY(mu_);
};

}  // namespace ckptfs
