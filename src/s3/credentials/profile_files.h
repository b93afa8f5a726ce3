// ProfileFiles: the AWS configuration and credentials files, read by the rules
// of "Shared config and credentials files" in the AWS SDKs and Tools reference.
#pragma once

#include <ckptfs/result.h>

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "s3/credentials/credentials_provider.h"

namespace ckptfs {

// Which of the two a file is: they name their sections differently.
enum class ProfileFileKind {
  kConfig,       // [profile NAME] and [default]
  kCredentials,  // [NAME]
};

struct ProfileProperty {
  std::string value;  // a secret, perhaps: never part of a message
  int line = 0;       // where it stands, from 1
};
// Name, in lower case, to property.
using ProfileProperties = std::map<std::string, ProfileProperty>;

// The profiles in the text of a file. Sections of other kinds and nested
// properties ("s3 =" and indented lines) are passed over; of what is given
// twice the last one counts. `path` is for messages. kInvalidArgument: a line
// that is neither section nor property, by its number.
Result<std::map<std::string, ProfileProperties>> ParseProfiles(
    std::string_view text, ProfileFileKind kind, const std::string& path);

// One profile, as both files have it.
struct Profile {
  std::string name;
  std::string config_path;
  std::string credentials_path;
  ProfileProperties config;
  ProfileProperties credentials;

  // Of the credentials file, then of the other one.
  std::string Region() const;
};

// Nullopt: neither file has it; a file that does not exist has none. Reads the
// files named by AWS_CONFIG_FILE (~/.aws/config) and
// AWS_SHARED_CREDENTIALS_FILE (~/.aws/credentials); blocks on the disk.
Result<std::optional<Profile>> LoadProfile(const std::string& name);

// Where LoadProfile looks, for messages.
std::string ProfileFilePath(ProfileFileKind kind);

// The keys of the credentials file, then those of the other one; never half of
// them from each. kUnsupported: a profile whose keys come from elsewhere (role,
// process, SSO), by the name of that setting. kUnauthenticated: no keys.
Result<Credentials> CredentialsOf(const Profile& profile);

}  // namespace ckptfs
