// SigV4Verifier: checks the Authorization header of a request (AWS Signature
// Version 4, header form) as S3 does. Written from the published description
// alone, so that it shares no mistake with the client under test.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "s3server/dates.h"
#include "s3server/http_message.h"
#include "s3server/s3_error.h"

namespace ckptfs::s3server {

struct Credentials {
  std::string access_key;
  std::string secret_key;
  std::string session_token = {};  // "": none wanted
};

// Immutable, so thread-safe. Never blocks.
class SigV4Verifier {
 public:
  // "" as region accepts any.
  SigV4Verifier(Credentials credentials, std::string region);

  // The refusal, or null if the request is signed as it should be. The body is
  // not looked at; see PayloadMatches.
  std::optional<S3Error> Verify(const Request& request, SystemTime now) const;

  // The canonical request, as it must have been signed.
  // `signed_headers` is the ';'-separated list of the Authorization header.
  // Null if one of them is absent or the path is not percent-coded properly.
  static std::optional<std::string> CanonicalRequest(
      const Request& request, std::string_view signed_headers);

 private:
  const Credentials credentials_;
  const std::string region_;
};

// The token that this server always takes for expired.
inline constexpr std::string_view kExpiredToken = "expired";

}  // namespace ckptfs::s3server
