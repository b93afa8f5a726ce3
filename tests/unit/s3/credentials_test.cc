// Which credentials are found where, and what is said when they are not.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "s3/credentials/find_credentials.h"
#include "s3/credentials/profile_files.h"

namespace ckptfs {
namespace {

constexpr auto kConfig = ProfileFileKind::kConfig;
constexpr auto kCredentials = ProfileFileKind::kCredentials;

std::string Value(const std::map<std::string, ProfileProperties>& profiles,
                  const std::string& profile, const std::string& name) {
  const auto it = profiles.find(profile);
  if (it == profiles.end()) return "no profile";
  const auto property = it->second.find(name);
  return property == it->second.end() ? "no property" : property->second.value;
}

TEST(ParseProfiles, TheRulesOfTheFiles) {
  const auto got = ParseProfiles(
      "# a comment\r\n"
      "; another\n"
      "[default]\n"
      "region = eu-west-1  # said here\n"
      "[profile a] ; one\n"
      "AWS_Access_Key_ID=AKID#1;2\n"
      "s3 =\n"
      "  max_concurrent_requests = 20\n"
      "  region = nested\n"
      "region\t= us-west-2\n"
      "[sso-session a]\n"
      "region = other\n"
      "[b]\n"
      "region = no profile of a config file\n"
      "[profile \"c d\"]\n"
      "  region = indented\n"
      "  output = json\n"
      "[ profile\ta ]\n"
      "region = again\n",
      kConfig, "f");
  ASSERT_TRUE(got.has_value()) << got.error().ToString();
  EXPECT_EQ(Value(*got, "default", "region"), "eu-west-1");
  EXPECT_EQ(Value(*got, "a", "aws_access_key_id"), "AKID#1;2");
  EXPECT_EQ(Value(*got, "a", "region"), "again");
  EXPECT_EQ(Value(*got, "a", "max_concurrent_requests"), "no property");
  EXPECT_EQ(Value(*got, "b", "region"), "no profile");
  EXPECT_EQ(Value(*got, "c d", "region"), "indented");
  EXPECT_EQ(Value(*got, "c d", "output"), "json");
  EXPECT_EQ(got->at("a").at("region").line, 19);
}

TEST(ParseProfiles, ProfileDefaultCountsBesideDefault) {
  const std::string plain = "[default]\nregion = plain\noutput = x\n";
  const std::string prefixed = "[profile default]\nregion = prefixed\n";
  for (const std::string& text : {plain + prefixed, prefixed + plain}) {
    const auto got = ParseProfiles(text, kConfig, "f");
    ASSERT_TRUE(got.has_value());
    EXPECT_EQ(Value(*got, "default", "region"), "prefixed");
    EXPECT_EQ(Value(*got, "default", "output"), "no property");
  }
}

TEST(ParseProfiles, SectionsOfACredentialsFileAreNames) {
  const auto got =
      ParseProfiles("[a]\nx=1\n[profile b]\nx=2", kCredentials, "f");
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(Value(*got, "a", "x"), "1");
  EXPECT_EQ(Value(*got, "profile b", "x"), "2");
}

TEST(ParseProfiles, MalformedLinesAreNamedAndNotShown) {
  const std::pair<const char*, const char*> cases[] = {
      {"[a]\nx=1\nSECRET\n", "dir/file:3: "},
      {"[a\nx=1\n", "dir/file:1: "},
      {"[a] SECRET\n", "dir/file:1: "},
      {"\n\nx=SECRET\n", "dir/file:3: "},
      {"[a]\n=SECRET\n", "dir/file:2: "}};
  for (const auto& [text, where] : cases) {
    const auto got = ParseProfiles(text, kCredentials, "dir/file");
    ASSERT_FALSE(got.has_value()) << text;
    EXPECT_EQ(got.error().code(), ErrorCode::kInvalidArgument);
    EXPECT_TRUE(got.error().message().starts_with(where)) << text;
    EXPECT_EQ(got.error().message().find("SECRET"), std::string::npos);
  }
}

// The environment as a test sets it, with a home of its own.
class FindingCredentials : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "ckptfs-aws-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    home_ = pattern;
    std::filesystem::create_directories(home_ / ".aws");
    for (const char* name :
         {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
          "AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"}) {
      unsetenv(name);
    }
    setenv("HOME", home_.c_str(), 1);
  }
  void TearDown() override { std::filesystem::remove_all(home_); }

  void Write(const std::string& name, const std::string& text) {
    std::ofstream(home_ / name) << text;
  }
  // "key/secret/token region", or the error.
  std::string Found(const S3StoreOptions& options = {}) {
    const Result<FoundCredentials> found = FindCredentials(options);
    if (!found.has_value()) return found.error().ToString();
    const auto keys = found->provider->Get();
    if (keys == nullptr) return "none " + found->region;
    return keys->access_key_id + "/" + keys->secret_access_key + "/" +
           keys->session_token + " " + found->region;
  }
  ErrorCode Code(const S3StoreOptions& options = {}) {
    const Result<FoundCredentials> found = FindCredentials(options);
    EXPECT_FALSE(found.has_value());
    return found.has_value() ? ErrorCode::kInternal : found.error().code();
  }
  static S3StoreOptions Named(const std::string& profile) {
    S3StoreOptions options;
    options.profile = profile;
    return options;
  }

  std::filesystem::path home_;
};

constexpr char kKeys[] =
    "aws_access_key_id = AK\naws_secret_access_key = SECRET\n";

TEST_F(FindingCredentials, TheFirstSourceGivenCounts) {
  EXPECT_EQ(Code(), ErrorCode::kUnauthenticated);
  EXPECT_NE(Found().find((home_ / ".aws/credentials").string()),
            std::string::npos);
  Write(".aws/config", "[default]\nregion = r1\n[profile p]\nregion = r2\n");
  Write(".aws/credentials",
        "[default]\naws_access_key_id=D\naws_secret_access_key=d\n"
        "[p]\naws_access_key_id=P\naws_secret_access_key=p\n"
        "aws_session_token=t\n");
  EXPECT_EQ(Found(), "D/d/ r1");
  setenv("AWS_PROFILE", "p", 1);
  EXPECT_EQ(Found(), "P/p/t r2");
  setenv("AWS_ACCESS_KEY_ID", "E", 1);
  EXPECT_EQ(Code(), ErrorCode::kUnauthenticated);  // half of a pair
  setenv("AWS_SECRET_ACCESS_KEY", "e", 1);
  EXPECT_EQ(Found(), "E/e/ ");
  EXPECT_EQ(Found(Named("default")), "D/d/ r1");
  S3StoreOptions options;
  options.access_key_id = "O";
  options.secret_access_key = "o";
  EXPECT_EQ(Found(options), "O/o/ ");
  options = Named("p");
  options.unsigned_requests = true;
  EXPECT_EQ(Found(options), "none r2");
  options.profile = "";
  EXPECT_EQ(Found(options), "none ");
}

TEST_F(FindingCredentials, TheCredentialsFileCountsOverTheOther) {
  Write("config", std::string("[profile p]\nregion=c\n") + kKeys +
                      "aws_session_token=of the other\n");
  setenv("AWS_CONFIG_FILE", (home_ / "config").c_str(), 1);
  setenv("AWS_SHARED_CREDENTIALS_FILE", "~/credentials", 1);
  Write("credentials",
        "[p]\naws_access_key_id=P\naws_secret_access_key=p\nregion=k\n");
  EXPECT_EQ(Found(Named("p")), "P/p/ k");
  std::filesystem::remove(home_ / "credentials");
  EXPECT_EQ(Code(Named("p")), ErrorCode::kInvalidArgument);  // the token
  Write("config", std::string("[profile p]\nregion=c\n") + kKeys);
  EXPECT_EQ(Found(Named("p")), "AK/SECRET/ c");
  // A secret never travels.
  Write("config",
        "[profile p]\naws_access_key_id=A\n"
        "aws_secret_access_key = with blanks\n");
  EXPECT_EQ(Found(Named("p")), "A/with blanks/ ");
}

TEST_F(FindingCredentials, KeysFromElsewhereAreRefusedByName) {
  for (const std::string name :
       {"role_arn", "source_profile", "credential_source",
        "web_identity_token_file", "sso_session", "sso_start_url",
        "credential_process", "login_session"}) {
    Write(".aws/config", "[profile p]\n\n" + name + " = x\n");
    const std::string message = Found(Named("p"));
    EXPECT_EQ(Code(Named("p")), ErrorCode::kUnsupported) << name;
    EXPECT_NE(message.find(".aws/config:3"), std::string::npos) << message;
    EXPECT_NE(message.find(name), std::string::npos) << message;
    EXPECT_NE(message.find("export-credentials --profile p"), std::string::npos)
        << message;
  }
  // Keys come before a process, as with the AWS tools; not before a role.
  Write(".aws/credentials", std::string("[p]\n") + kKeys);
  Write(".aws/config", "[profile p]\ncredential_process = x\n");
  EXPECT_EQ(Found(Named("p")), "AK/SECRET/ ");
  Write(".aws/config", "[profile p]\nrole_arn = x\n");
  EXPECT_EQ(Code(Named("p")), ErrorCode::kUnsupported);
}

TEST_F(FindingCredentials, WhatIsMissingOrWrongIsNamedWithoutSecrets) {
  EXPECT_EQ(Code(Named("gone")), ErrorCode::kUnauthenticated);
  EXPECT_NE(Found(Named("gone")).find("\"gone\""), std::string::npos);
  setenv("AWS_PROFILE", "lost", 1);
  EXPECT_NE(Found().find("AWS_PROFILE: there is no profile \"lost\""),
            std::string::npos);
  const std::pair<const char*, const char*> cases[] = {
      {"[p]\naws_access_key_id = AK\n", "aws_secret_access_key"},
      {"[p]\naws_secret_access_key = SECRET\n", "aws_access_key_id"},
      {"[p]\nregion = x\n", "aws_access_key_id"},
      {"[p]\naws_access_key_id = A\naws_secret_access_key = SEC\tRET\n",
       ".aws/credentials:3"},
      {"[p]\naws_access_key_id = A\naws_secret_access_key =\n",
       ".aws/credentials:3"},
      {"[p]\naws_access_key_id = A\naws_secret_access_key = SEC\n  RET\n",
       ".aws/credentials:3"}};
  for (const auto& [text, named] : cases) {
    Write(".aws/credentials", text);
    const std::string message = Found(Named("p"));
    EXPECT_NE(message.find(named), std::string::npos) << message;
    EXPECT_EQ(message.find("SEC"), std::string::npos) << message;
    EXPECT_EQ(message.find("RET"), std::string::npos) << message;
  }
  std::filesystem::remove(home_ / ".aws/credentials");
  std::filesystem::create_directory(home_ / ".aws/credentials");
  EXPECT_EQ(Code(Named("p")), ErrorCode::kInvalidArgument);
}

TEST_F(FindingCredentials, OptionsThatExcludeEachOtherAreRefused) {
  S3StoreOptions keys;
  keys.access_key_id = "A";
  EXPECT_NE(Found(keys).find("secret_access_key"), std::string::npos);
  keys.secret_access_key = "SEC\r\nRET";
  EXPECT_EQ(Code(keys), ErrorCode::kInvalidArgument);
  EXPECT_EQ(Found(keys).find("RET"), std::string::npos);
  keys.secret_access_key = "s";
  keys.profile = "p";
  EXPECT_EQ(Code(keys), ErrorCode::kInvalidArgument);
  keys.profile = "";
  keys.unsigned_requests = true;
  EXPECT_EQ(Code(keys), ErrorCode::kInvalidArgument);
  setenv("AWS_ACCESS_KEY_ID", "A", 1);
  setenv("AWS_SECRET_ACCESS_KEY", "hush\nhush", 1);
  EXPECT_EQ(Code(), ErrorCode::kInvalidArgument);
  EXPECT_NE(Found().find("AWS_SECRET_ACCESS_KEY"), std::string::npos);
  EXPECT_EQ(Found().find("hush"), std::string::npos);
}

}  // namespace
}  // namespace ckptfs
