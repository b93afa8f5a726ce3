#include <algorithm>
#include <cstdlib>

#include "s3/credentials/credentials_provider.h"

namespace ckptfs {

namespace {

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

}  // namespace

bool IsCredentialText(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return c > ' ' && c <= '~'; });
}

bool IsSecretText(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return c >= ' ' && c <= '~'; }) &&
         !text.starts_with(' ') && !text.ends_with(' ');
}

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
  const std::pair<const char*, const std::string*> given[] = {
      {"AWS_ACCESS_KEY_ID", &c.access_key_id},
      {"AWS_SECRET_ACCESS_KEY", &c.secret_access_key},
      {"AWS_SESSION_TOKEN", &c.session_token}};
  for (const auto& [name, value] : given) {
    const bool good = value == &c.secret_access_key ? IsSecretText(*value)
                                                    : IsCredentialText(*value);
    if (!good) {
      return Fail(ErrorCode::kInvalidArgument,
                  std::string(name) + kNotCredentialText);
    }
  }
  return std::make_unique<StaticCredentials>(std::move(c));
}

}  // namespace ckptfs
