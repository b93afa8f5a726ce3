// The command line: what it accepts, and that what is wrong is one line that
// says what to do.
#include "cli/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace ckptfs::cli {
namespace {

using ::testing::HasSubstr;

Command Parse(std::vector<const char*> words) {
  words.insert(words.begin(), "ckptfs");
  return ParseCommandLine(static_cast<int>(words.size()), words.data());
}

MountOptions ParseMount(std::vector<const char*> words) {
  words.insert(words.begin(), "mount");
  words.insert(words.end(), {"s3://bucket/a/b", "/mnt"});
  const Command command = Parse(words);
  if (const auto* text = std::get_if<PrintAndExit>(&command)) {
    ADD_FAILURE() << text->err;
    return {};
  }
  return std::get<MountOptions>(command);
}

PrintAndExit Printed(const std::vector<const char*>& words) {
  const Command command = Parse(words);
  const auto* text = std::get_if<PrintAndExit>(&command);
  if (text == nullptr) {
    ADD_FAILURE() << "was accepted";
    return {};
  }
  return *text;
}

// One line on stderr, exit code 2.
std::string UsageErrorOf(const std::vector<const char*>& words) {
  const PrintAndExit text = Printed(words);
  EXPECT_EQ(text.code, ExitCode::kUsage);
  EXPECT_EQ(text.out, "");
  EXPECT_EQ(text.err.rfind("ckptfs: ", 0), 0u) << text.err;
  EXPECT_EQ(text.err.find('\n'), text.err.size() - 1) << text.err;
  return text.err;
}

TEST(Options, Defaults) {
  const MountOptions o = ParseMount({});
  EXPECT_EQ(o.source.bucket, "bucket");
  EXPECT_EQ(o.source.prefix, "a/b/");
  EXPECT_EQ(o.mount_point, "/mnt");
  EXPECT_EQ(o.drain_timeout, std::chrono::seconds(60));
  EXPECT_EQ(o.memory_limit_bytes, 0u);
  EXPECT_EQ(o.part_bytes, 0u);
  EXPECT_FALSE(o.read_only || o.allow_other || o.foreground ||
               o.force_path_style);
  EXPECT_FALSE(o.uid.has_value() || o.gid.has_value());
  EXPECT_EQ(o.log_level, LogLevel::kInfo);
  EXPECT_EQ(o.invisible_writers, fs::InvisibleWriters::kClose);
  EXPECT_EQ(ParseMount({"--invisible-writers=close"}).invisible_writers,
            fs::InvisibleWriters::kClose);
}

TEST(Options, EveryOption) {
  const MountOptions o = ParseMount({"--endpoint-url=http://h:1",
                                     "--profile",
                                     "team",
                                     "--region",
                                     "eu-x-1",
                                     "--ca-file",
                                     "/ca",
                                     "--force-path-style",
                                     "--read-only",
                                     "--allow-other",
                                     "--uid",
                                     "7",
                                     "--gid",
                                     "8",
                                     "--memory-limit",
                                     "2GiB",
                                     "--part-size",
                                     "16MiB",
                                     "--drain-timeout",
                                     "5",
                                     "--invisible-writers",
                                     "fsync-rename",
                                     "--foreground",
                                     "--log-level",
                                     "debug",
                                     "--log-file",
                                     "/log"});
  EXPECT_EQ(o.endpoint_url, "http://h:1");
  EXPECT_EQ(o.region, "eu-x-1");
  EXPECT_EQ(o.profile, "team");
  EXPECT_EQ(o.ca_file, "/ca");
  EXPECT_TRUE(o.force_path_style && o.read_only && o.allow_other &&
              o.foreground);
  EXPECT_EQ(o.uid, 7u);
  EXPECT_EQ(o.gid, 8u);
  EXPECT_EQ(o.memory_limit_bytes, 2ull << 30);
  EXPECT_EQ(o.part_bytes, 16ull << 20);
  EXPECT_EQ(o.drain_timeout, std::chrono::seconds(5));
  EXPECT_EQ(o.invisible_writers, fs::InvisibleWriters::kFsyncRename);
  EXPECT_EQ(o.log_level, LogLevel::kDebug);
  EXPECT_EQ(o.log_file, "/log");
}

TEST(Options, OptionsMayFollowTheArguments) {
  const Command command =
      Parse({"mount", "s3://b", "/mnt", "--read-only", "--region", "r"});
  ASSERT_TRUE(std::holds_alternative<MountOptions>(command));
  EXPECT_TRUE(std::get<MountOptions>(command).read_only);
}

TEST(Options, AMisspeltOptionNamesTheRightOne) {
  EXPECT_THAT(
      UsageErrorOf({"mount", "--endpont-url", "http://h", "s3://b", "/mnt"}),
      HasSubstr("did you mean --endpoint-url?"));
  EXPECT_THAT(UsageErrorOf({"mount", "s3://b", "/mnt", "--readonly"}),
              HasSubstr("did you mean --read-only?"));
  EXPECT_THAT(UsageErrorOf({"mount", "--memory-limt=1GiB", "s3://b", "/m"}),
              HasSubstr("did you mean --memory-limit?"));
  EXPECT_THAT(UsageErrorOf({"mount", "s3://b", "/mnt", "--completely-other"}),
              HasSubstr("See ckptfs mount --help"));
}

TEST(Options, UnservedOptionsSayWhatToDo) {
  EXPECT_THAT(UsageErrorOf({"mount", "--cache-dir", "/c", "s3://b", "/mnt"}),
              HasSubstr("there is no cache directory yet"));
}

TEST(Options, WrongValues) {
  EXPECT_THAT(UsageErrorOf({"mount", "--memory-limit", "1MiB", "s3://b", "/m"}),
              HasSubstr("at least 64MiB"));
  EXPECT_THAT(UsageErrorOf({"mount", "--memory-limit", "lots", "s3://b", "/m"}),
              HasSubstr("--memory-limit"));
  EXPECT_THAT(UsageErrorOf({"mount", "--part-size", "4MiB", "s3://b", "/m"}),
              HasSubstr("5MiB to 5GiB"));
  EXPECT_THAT(UsageErrorOf({"mount", "--part-size", "1GiB", "--memory-limit",
                            "1GiB", "s3://b", "/m"}),
              HasSubstr("--memory-limit of at least 2048MiB"));
  EXPECT_THAT(UsageErrorOf({"mount", "--uid", "-1", "s3://b", "/m"}),
              HasSubstr("whole number"));
  EXPECT_THAT(UsageErrorOf({"mount", "--log-level", "loud", "s3://b", "/m"}),
              HasSubstr("debug, info"));
  EXPECT_THAT(
      UsageErrorOf({"mount", "--invisible-writers=fsync", "s3://b", "/m"}),
      HasSubstr("neither close nor fsync-rename"));
  UsageErrorOf({"mount", "--region"});
}

TEST(Options, WrongArguments) {
  EXPECT_THAT(UsageErrorOf({}), HasSubstr("ckptfs --help"));
  EXPECT_THAT(UsageErrorOf({"moutn", "s3://b", "/m"}),
              HasSubstr("unknown command \"moutn\""));
  EXPECT_THAT(UsageErrorOf({"mount", "s3://b"}),
              HasSubstr("needs a bucket and a directory"));
  EXPECT_THAT(UsageErrorOf({"mount", "bucket", "/m"}),
              HasSubstr("does not begin with s3://"));
  EXPECT_THAT(UsageErrorOf({"mount", "s3://b", "/m", "/n"}),
              HasSubstr("unexpected argument \"/n\""));
  EXPECT_THAT(UsageErrorOf({"umount"}), HasSubstr("ckptfs umount DIR"));
}

TEST(Options, HelpAndVersion) {
  for (const auto& words :
       std::vector<std::vector<const char*>>{{"--help"},
                                             {"mount", "--help"},
                                             {"umount", "--help"},
                                             {"inspect", "--help"},
                                             {"verify", "--help"},
                                             {"--version"},
                                             {"version"}}) {
    const PrintAndExit text = Printed(words);
    EXPECT_EQ(text.code, ExitCode::kSuccess);
    EXPECT_EQ(text.err, "");
    EXPECT_FALSE(text.out.empty());
  }
  EXPECT_THAT(Printed({"mount", "--help"}).out,
              ::testing::Not(HasSubstr("--cache-dir")));
}

TEST(Options, Umount) {
  const Command command = Parse({"umount", "/mnt"});
  ASSERT_TRUE(std::holds_alternative<UmountOptions>(command));
  EXPECT_EQ(std::get<UmountOptions>(command).mount_point, "/mnt");
}

TEST(Options, Inspect) {
  const Command command =
      Parse({"inspect", "--json", "s3://b/k", "--endpoint-url", "http://h:1",
             "--region", "r", "--ca-file", "/ca"});
  ASSERT_TRUE(std::holds_alternative<InspectOptions>(command));
  const InspectOptions& o = std::get<InspectOptions>(command);
  EXPECT_EQ(o.path, "s3://b/k");
  EXPECT_TRUE(o.json);
  EXPECT_EQ(o.endpoint_url, "http://h:1");
  EXPECT_EQ(o.region, "r");
  EXPECT_EQ(o.ca_file, "/ca");
  EXPECT_FALSE(o.force_path_style);
  EXPECT_THAT(UsageErrorOf({"inspect"}), HasSubstr("ckptfs inspect s3://"));
  EXPECT_THAT(UsageErrorOf({"inspect", "gs://b/k"}),
              HasSubstr("a scheme that is not served"));
  EXPECT_THAT(UsageErrorOf({"inspect", "f", "--jsno"}),
              HasSubstr("did you mean --json?"));
  EXPECT_THAT(UsageErrorOf({"inspect", "f", "g"}),
              HasSubstr("unexpected argument \"g\""));
}

TEST(Options, Verify) {
  const Command command = Parse({"verify", "/a/file", "--force-path-style"});
  ASSERT_TRUE(std::holds_alternative<VerifyOptions>(command));
  EXPECT_EQ(std::get<VerifyOptions>(command).path, "/a/file");
  EXPECT_TRUE(std::get<VerifyOptions>(command).force_path_style);
  EXPECT_THAT(UsageErrorOf({"verify", "f", "--json"}),
              HasSubstr("unknown option --json"));
  EXPECT_THAT(UsageErrorOf({"verify"}), HasSubstr("ckptfs verify s3://"));
}

}  // namespace
}  // namespace ckptfs::cli
