#include "s3/credentials/find_credentials.h"

#include <cstdlib>
#include <optional>
#include <utility>

#include "s3/credentials/profile_files.h"

namespace ckptfs {

namespace {

bool IsSet(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0';
}

tl::unexpected<Error> Invalid(std::string why) {
  return Fail(ErrorCode::kInvalidArgument, std::move(why));
}

Result<FoundCredentials> FromOptions(const S3StoreOptions& options) {
  if (options.access_key_id.empty() || options.secret_access_key.empty()) {
    return Invalid(
        "explicit credentials need both access_key_id and "
        "secret_access_key");
  }
  const std::pair<const char*, const std::string*> given[] = {
      {"access_key_id", &options.access_key_id},
      {"secret_access_key", &options.secret_access_key},
      {"session_token", &options.session_token}};
  for (const auto& [name, value] : given) {
    const bool good = value == &options.secret_access_key
                          ? IsSecretText(*value)
                          : IsCredentialText(*value);
    if (!good) return Invalid(std::string(name) + kNotCredentialText);
  }
  FoundCredentials out;
  out.provider = std::make_unique<StaticCredentials>(Credentials{
      options.access_key_id, options.secret_access_key, options.session_token});
  return out;
}

Result<FoundCredentials> FromProfile(const Profile& profile) {
  CKPTFS_ASSIGN_OR_RETURN(Credentials credentials, CredentialsOf(profile));
  FoundCredentials out;
  out.provider = std::make_unique<StaticCredentials>(std::move(credentials));
  out.region = profile.Region();
  return out;
}

std::string Places() {
  return ProfileFilePath(ProfileFileKind::kCredentials) + " or " +
         ProfileFilePath(ProfileFileKind::kConfig);
}

// `from`: who asks for it, for the message.
Result<Profile> NamedProfile(const std::string& name, const std::string& from) {
  CKPTFS_ASSIGN_OR_RETURN(std::optional<Profile> profile, LoadProfile(name));
  if (!profile.has_value()) {
    return Fail(ErrorCode::kUnauthenticated,
                from + ": there is no profile \"" + name + "\" in " + Places());
  }
  return *std::move(profile);
}

}  // namespace

Result<FoundCredentials> FindCredentials(const S3StoreOptions& options) {
  const bool explicit_keys = !options.access_key_id.empty() ||
                             !options.secret_access_key.empty() ||
                             !options.session_token.empty();
  if (options.unsigned_requests && explicit_keys) {
    return Invalid("unsigned_requests and access_key_id exclude each other");
  }
  if (explicit_keys && !options.profile.empty()) {
    return Invalid("profile and access_key_id exclude each other");
  }
  if (options.unsigned_requests) {
    FoundCredentials out;
    if (!options.profile.empty()) {
      CKPTFS_ASSIGN_OR_RETURN(const Profile profile,
                              NamedProfile(options.profile, "profile"));
      out.region = profile.Region();
    }
    out.provider = std::make_unique<NoCredentials>();
    return out;
  }
  if (explicit_keys) return FromOptions(options);
  if (!options.profile.empty()) {
    CKPTFS_ASSIGN_OR_RETURN(const Profile profile,
                            NamedProfile(options.profile, "profile"));
    return FromProfile(profile);
  }
  // Half of them is a mistake to be told, not a reason to look elsewhere.
  if (IsSet("AWS_ACCESS_KEY_ID") || IsSet("AWS_SECRET_ACCESS_KEY")) {
    FoundCredentials out;
    CKPTFS_ASSIGN_OR_RETURN(out.provider, CredentialsFromEnvironment());
    return out;
  }
  if (IsSet("AWS_PROFILE")) {
    CKPTFS_ASSIGN_OR_RETURN(
        const Profile profile,
        NamedProfile(std::getenv("AWS_PROFILE"), "AWS_PROFILE"));
    return FromProfile(profile);
  }
  CKPTFS_ASSIGN_OR_RETURN(const std::optional<Profile> fallback,
                          LoadProfile("default"));
  if (fallback.has_value()) return FromProfile(*fallback);
  Result<std::unique_ptr<CredentialsProvider>> none =
      CredentialsFromEnvironment();
  return Fail(ErrorCode::kUnauthenticated,
              none.error().message() +
                  ", or AWS_PROFILE to a profile: there is no profile "
                  "\"default\" in " +
                  Places());
}

}  // namespace ckptfs
