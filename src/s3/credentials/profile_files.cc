#include "s3/credentials/profile_files.h"

#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>

namespace ckptfs {

namespace {

constexpr std::string_view kSpace = " \t\r\f\v";
// Real files have a few KiB.
constexpr std::size_t kMaxFileBytes = 4 << 20;

std::string_view Trim(std::string_view text) {
  const std::size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

std::string Lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return out;
}

// A comment begins with # or ; after white space; these also stand in values.
std::string_view WithoutComment(std::string_view text) {
  for (std::size_t i = 1; i < text.size(); ++i) {
    if ((text[i] == '#' || text[i] == ';') &&
        (text[i - 1] == ' ' || text[i - 1] == '\t')) {
      return text.substr(0, i);
    }
  }
  return text;
}

std::string At(const std::string& path, int line) {
  return path + ":" + std::to_string(line);
}

// The profile that the section between brackets is, if it is one. `prefixed`:
// the form "profile NAME".
std::optional<std::string> ProfileName(std::string_view section,
                                       ProfileFileKind kind, bool* prefixed) {
  *prefixed = false;
  section = Trim(section);
  if (kind == ProfileFileKind::kConfig) {
    constexpr std::string_view kPrefix = "profile";
    if (section.starts_with(kPrefix) && section.size() > kPrefix.size() &&
        kSpace.find(section[kPrefix.size()]) != std::string_view::npos) {
      *prefixed = true;
      section = Trim(section.substr(kPrefix.size()));
    } else if (section != "default") {
      return std::nullopt;
    }
  }
  if (section.size() >= 2 && section.front() == section.back() &&
      (section.front() == '"' || section.front() == '\'')) {
    section = section.substr(1, section.size() - 2);
  }
  if (section.empty()) return std::nullopt;
  return std::string(section);
}

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

// "" where there is no such file.
Result<std::string> ReadFile(const std::string& path) {
  struct Closer {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  const auto failed = [&path](int error) {
    return Fail(ErrorCode::kInvalidArgument,
                "cannot read " + path + ": " + std::strerror(error));
  };
  const std::unique_ptr<std::FILE, Closer> file(
      std::fopen(path.c_str(), "rbe"));
  if (file == nullptr) {
    if (errno == ENOENT || errno == ENOTDIR) return std::string();
    return failed(errno);
  }
  std::string text;
  char buffer[8192];
  while (true) {
    const std::size_t n = std::fread(buffer, 1, sizeof(buffer), file.get());
    if (std::ferror(file.get()) != 0) return failed(errno);
    if (n == 0) return text;
    text.append(buffer, n);
    if (text.size() > kMaxFileBytes) {
      return Fail(ErrorCode::kInvalidArgument,
                  path + " has more than 4 MiB: not a file of AWS profiles");
    }
  }
}

Result<ProfileProperties> PropertiesIn(ProfileFileKind kind,
                                       const std::string& path,
                                       const std::string& name, bool* found) {
  if (path.empty()) return ProfileProperties();
  CKPTFS_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  CKPTFS_ASSIGN_OR_RETURN(auto profiles, ParseProfiles(text, kind, path));
  const auto it = profiles.find(name);
  if (it == profiles.end()) return ProfileProperties();
  *found = true;
  return std::move(it->second);
}

Result<void> CheckKeyText(const ProfileProperty& property,
                          const std::string& name, const std::string& path) {
  const bool good = name == "aws_secret_access_key"
                        ? IsSecretText(property.value)
                        : IsCredentialText(property.value);
  if (!property.value.empty() && good) return {};
  return Fail(ErrorCode::kInvalidArgument,
              At(path, property.line) + ": " + name +
                  (property.value.empty() ? " is empty" : kNotCredentialText));
}

Result<Credentials> KeysIn(const Profile& profile,
                           const ProfileProperties& properties,
                           const std::string& path) {
  Credentials out;
  const std::pair<const char*, std::string*> wanted[] = {
      {"aws_access_key_id", &out.access_key_id},
      {"aws_secret_access_key", &out.secret_access_key},
      {"aws_session_token", &out.session_token}};
  for (const auto& [name, value] : wanted) {
    const auto it = properties.find(name);
    if (it == properties.end()) {
      if (value == &out.session_token) continue;
      return Fail(ErrorCode::kUnauthenticated, path + ": profile \"" +
                                                   profile.name + "\" has no " +
                                                   name + "; add it");
    }
    if (value == &out.session_token && it->second.value.empty()) continue;
    CKPTFS_RETURN_IF_ERROR(CheckKeyText(it->second, name, path));
    *value = it->second.value;
  }
  return out;
}

bool HasKeys(const ProfileProperties& properties) {
  return properties.contains("aws_access_key_id") ||
         properties.contains("aws_secret_access_key");
}

// The setting by which other tools find the keys of this profile elsewhere.
const std::string* Elsewhere(const ProfileProperties& properties,
                             bool has_keys) {
  for (const auto& [name, property] : properties) {
    if (name == "role_arn" || name == "source_profile" ||
        name == "credential_source" || name == "web_identity_token_file" ||
        name.starts_with("sso_")) {
      return &name;
    }
    // Tools prefer keys to these.
    if (!has_keys && (name == "credential_process" || name == "login_session"))
      return &name;
  }
  return nullptr;
}

}  // namespace

Result<std::map<std::string, ProfileProperties>> ParseProfiles(
    std::string_view text, ProfileFileKind kind, const std::string& path) {
  std::map<std::string, ProfileProperties> out;
  ProfileProperties* profile = nullptr;  // null: in a section of another kind
  ProfileProperty* property = nullptr;   // the last one, null if passed over
  bool in_section = false;
  bool in_property = false;
  bool prefixed_default = false;
  std::size_t indentation = 0;  // of the last property
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  for (int number = 1; !text.empty(); ++number) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text = end == std::string_view::npos ? "" : text.substr(end + 1);
    const std::string_view content = Trim(line);
    if (content.empty() || content[0] == '#' || content[0] == ';') continue;
    const std::size_t indented = line.find_first_not_of(" \t");
    if (in_property && indented > indentation) {
      // More of the value, or a nested property of one without a value.
      if (property != nullptr && !property->value.empty()) {
        property->value += "\n";
        property->value += Trim(WithoutComment(content));
      }
      continue;
    }
    if (content[0] == '[') {
      const std::size_t close = content.find(']');
      const std::string_view rest =
          close == std::string_view::npos
              ? std::string_view("?")
              : Trim(WithoutComment(content.substr(close + 1)));
      if (!rest.empty() && rest[0] != '#' && rest[0] != ';') {
        return Fail(ErrorCode::kInvalidArgument,
                    At(path, number) + ": a section is written as [NAME]");
      }
      in_section = true;
      in_property = false;
      bool prefixed = false;
      const std::optional<std::string> name =
          ProfileName(content.substr(1, close - 1), kind, &prefixed);
      profile = nullptr;
      if (!name.has_value()) continue;
      if (kind == ProfileFileKind::kConfig && *name == "default") {
        // [profile default] counts, where [default] stands beside it.
        if (!prefixed && prefixed_default) continue;
        if (prefixed && !prefixed_default) out.erase(*name);
        prefixed_default = prefixed_default || prefixed;
      }
      profile = &out[*name];
      continue;
    }
    const std::size_t equals = content.find('=');
    const std::string_view name = Trim(content.substr(0, equals));
    if (equals == std::string_view::npos || name.empty()) {
      return Fail(ErrorCode::kInvalidArgument,
                  At(path, number) + ": neither [SECTION] nor NAME = VALUE");
    }
    if (!in_section) {
      return Fail(ErrorCode::kInvalidArgument,
                  At(path, number) + ": a setting outside of a [SECTION]");
    }
    in_property = true;
    indentation = indented;
    property = nullptr;
    if (profile == nullptr) continue;
    property = &(*profile)[Lower(name)];
    property->value = Trim(WithoutComment(content.substr(equals + 1)));
    property->line = number;
  }
  return out;
}

std::string Profile::Region() const {
  for (const ProfileProperties* properties : {&credentials, &config}) {
    const auto it = properties->find("region");
    if (it != properties->end() && !it->second.value.empty()) {
      return it->second.value;
    }
  }
  return "";
}

std::string ProfileFilePath(ProfileFileKind kind) {
  const bool config = kind == ProfileFileKind::kConfig;
  std::string path =
      Variable(config ? "AWS_CONFIG_FILE" : "AWS_SHARED_CREDENTIALS_FILE");
  if (path.empty()) path = config ? "~/.aws/config" : "~/.aws/credentials";
  if (!path.starts_with("~/")) return path;
  const std::string home = Variable("HOME");
  return home.empty() ? "" : home + path.substr(1);
}

Result<std::optional<Profile>> LoadProfile(const std::string& name) {
  Profile out;
  out.name = name;
  out.config_path = ProfileFilePath(ProfileFileKind::kConfig);
  out.credentials_path = ProfileFilePath(ProfileFileKind::kCredentials);
  bool found = false;
  CKPTFS_ASSIGN_OR_RETURN(
      out.config,
      PropertiesIn(ProfileFileKind::kConfig, out.config_path, name, &found));
  CKPTFS_ASSIGN_OR_RETURN(out.credentials,
                          PropertiesIn(ProfileFileKind::kCredentials,
                                       out.credentials_path, name, &found));
  if (!found) return std::optional<Profile>();
  return std::optional<Profile>(std::move(out));
}

Result<Credentials> CredentialsOf(const Profile& profile) {
  const bool in_credentials = HasKeys(profile.credentials);
  const std::pair<const ProfileProperties*, const std::string*> files[] = {
      {&profile.credentials, &profile.credentials_path},
      {&profile.config, &profile.config_path}};
  for (const auto& [properties, path] : files) {
    const std::string* name = Elsewhere(*properties, in_credentials);
    if (name == nullptr) continue;
    return Fail(ErrorCode::kUnsupported,
                At(*path, properties->at(*name).line) + ": profile \"" +
                    profile.name + "\" gets its keys by " + *name +
                    ", which is not supported; set the environment from `aws "
                    "configure export-credentials --profile " +
                    profile.name + " --format env`");
  }
  if (in_credentials) {
    return KeysIn(profile, profile.credentials, profile.credentials_path);
  }
  if (HasKeys(profile.config)) {
    return KeysIn(profile, profile.config, profile.config_path);
  }
  return Fail(ErrorCode::kUnauthenticated,
              "profile \"" + profile.name + "\" has no aws_access_key_id in " +
                  profile.credentials_path + " or " + profile.config_path);
}

}  // namespace ckptfs
