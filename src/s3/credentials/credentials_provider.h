// Where credentials come from. One interface, so that sources whose keys change
// (web identity, container and instance endpoints) can stand beside the fixed
// ones here.
#pragma once

#include <ckptfs/result.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace ckptfs {

// Never logged, never part of an error's text.
struct Credentials {
  std::string access_key_id;
  std::string secret_access_key;
  std::string session_token;  // empty for long-lived keys
};

// Visible ASCII, no blanks: what can travel in the headers of a request, as key
// ids and session tokens do.
bool IsCredentialText(std::string_view text);
// Printable ASCII without a blank at an end, which comes from a paste. Within a
// secret, which never travels, stores other than AWS allow blanks.
bool IsSecretText(std::string_view text);
// What is said, behind its name, of one that is neither.
inline constexpr char kNotCredentialText[] =
    " has a blank where none can be, or characters that no key has";

// Thread-safe; Get never blocks. Null: requests are not signed.
class CredentialsProvider {
 public:
  virtual ~CredentialsProvider() = default;
  virtual std::shared_ptr<const Credentials> Get() const = 0;
};

// The same credentials for good.
class StaticCredentials final : public CredentialsProvider {
 public:
  explicit StaticCredentials(Credentials credentials)
      : credentials_(
            std::make_shared<const Credentials>(std::move(credentials))) {}
  std::shared_ptr<const Credentials> Get() const override {
    return credentials_;
  }

 private:
  const std::shared_ptr<const Credentials> credentials_;
};

// None at all: for buckets that everybody may read or write.
class NoCredentials final : public CredentialsProvider {
 public:
  std::shared_ptr<const Credentials> Get() const override { return nullptr; }
};

// AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, read once.
// kUnauthenticated if either of the first two is missing, kInvalidArgument if
// one holds what no key does.
Result<std::unique_ptr<CredentialsProvider>> CredentialsFromEnvironment();

}  // namespace ckptfs
