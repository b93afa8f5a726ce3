#include <cstdlib>

#include "s3/credentials/credentials_provider.h"

namespace ckptfs {

namespace {

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

}  // namespace

Result<std::unique_ptr<CredentialsProvider>> CredentialsFromEnvironment() {
  Credentials c{Variable("AWS_ACCESS_KEY_ID"),
                Variable("AWS_SECRET_ACCESS_KEY"),
                Variable("AWS_SESSION_TOKEN")};
  if (c.access_key_id.empty() || c.secret_access_key.empty()) {
    return Fail(ErrorCode::kUnauthenticated,
                std::string("no S3 credentials: ") +
                    (c.access_key_id.empty() ? "AWS_ACCESS_KEY_ID"
                                             : "AWS_SECRET_ACCESS_KEY") +
                    " is not set in the environment; set AWS_ACCESS_KEY_ID "
                    "and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN for "
                    "temporary credentials)");
  }
  return std::make_unique<StaticCredentials>(std::move(c));
}

}  // namespace ckptfs
