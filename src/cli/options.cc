#include "cli/options.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <charconv>
#include <sstream>
#include <string_view>
#include <type_traits>
#include <vector>

#include "checkpoint/engine/location.h"
#include "cli/byte_size.h"
#include "cli/help_footers.h"
#include "common/memory_budget.h"
#include "transfer/part_plan.h"

namespace ckptfs::cli {

namespace {

// Below this not even one small part and one read window fit.
constexpr std::uint64_t kMinMemoryLimit = 64ull << 20;

// One row of a table. `value_name` null: a flag.
template <typename Options>
struct OptionRow {
  const char* name;
  const char* value_name;
  const char* help;
  Result<void> (*apply)(const std::string& value, Options& options);
};

Result<std::uint32_t> ParseNumber(const std::string& text) {
  std::uint32_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || stop != end) {
    return Fail(ErrorCode::kInvalidArgument,
                "\"" + text + "\" is not a whole number");
  }
  return number;
}

Result<fs::InvisibleWriters> ParseInvisibleWriters(const std::string& text) {
  if (text == "close") return fs::InvisibleWriters::kClose;
  if (text == "fsync-rename") return fs::InvisibleWriters::kFsyncRename;
  return Fail(ErrorCode::kInvalidArgument,
              "\"" + text + "\" is neither close nor fsync-rename");
}

Result<void> NotServed(const std::string& what) {
  return Fail(ErrorCode::kUnsupported, what);
}

// Of all commands that talk to S3.
const OptionRow<StoreArguments> kStoreOptions[] = {
    {"--endpoint-url", "URL",
     "The S3 endpoint, e.g. http://127.0.0.1:9000. Without it "
     "$AWS_ENDPOINT_URL_S3, $AWS_ENDPOINT_URL, then AWS in the region",
     [](const std::string& v, StoreArguments& o) -> Result<void> {
       o.endpoint_url = v;
       return {};
     }},
    {"--region", "NAME",
     "The bucket's region. Without it $AWS_REGION, $AWS_DEFAULT_REGION, the "
     "profile's, then us-east-1",
     [](const std::string& v, StoreArguments& o) -> Result<void> {
       o.region = v;
       return {};
     }},
    {"--profile", "NAME",
     "Take the credentials from this profile of the AWS tools' files. Without "
     "it those in the environment, then $AWS_PROFILE, then \"default\"",
     [](const std::string& v, StoreArguments& o) -> Result<void> {
       o.profile = v;
       return {};
     }},
    {"--force-path-style", nullptr,
     "Put the bucket into the path of URLs also for AWS; custom endpoints are "
     "addressed so in any case",
     [](const std::string&, StoreArguments& o) -> Result<void> {
       o.force_path_style = true;
       return {};
     }},
    {"--ca-file", "FILE",
     "Trust the certificate authorities in this PEM file instead of the "
     "system's. Without it $AWS_CA_BUNDLE",
     [](const std::string& v, StoreArguments& o) -> Result<void> {
       o.ca_file = v;
       return {};
     }},
};

const OptionRow<MountOptions> kMountOptions[] = {
    {"--read-only", nullptr, "Refuse all changes",
     [](const std::string&, MountOptions& o) -> Result<void> {
       o.read_only = true;
       return {};
     }},
    {"--allow-other", nullptr,
     "Let other users in; needs user_allow_other in /etc/fuse.conf unless root "
     "mounts",
     [](const std::string&, MountOptions& o) -> Result<void> {
       o.allow_other = true;
       return {};
     }},
    {"--uid", "NUMBER",
     "Owner of files that carry none in their metadata (default: who mounts)",
     [](const std::string& v, MountOptions& o) -> Result<void> {
       CKPTFS_ASSIGN_OR_RETURN(o.uid, ParseNumber(v));
       return {};
     }},
    {"--gid", "NUMBER", "Group of such files (default: that of who mounts)",
     [](const std::string& v, MountOptions& o) -> Result<void> {
       CKPTFS_ASSIGN_OR_RETURN(o.gid, ParseNumber(v));
       return {};
     }},
    {"--memory-limit", "SIZE",
     "Memory for file data, at least 64MiB; suffixes KiB, MiB, GiB (default: "
     "an eighth of the machine's or cgroup's memory, at most 1GiB)",
     [](const std::string& v, MountOptions& o) -> Result<void> {
       CKPTFS_ASSIGN_OR_RETURN(o.memory_limit_bytes, ParseByteSize(v));
       if (o.memory_limit_bytes < kMinMemoryLimit) {
         return Fail(ErrorCode::kInvalidArgument,
                     "\"" + v + "\" is too small; give at least 64MiB");
       }
       return {};
     }},
    {"--part-size", "SIZE",
     "Upload parts of this size, 5MiB to 5GiB (default: 8MiB, growing with the "
     "file up to 64MiB). A file can have 10,000 parts",
     [](const std::string& v, MountOptions& o) -> Result<void> {
       CKPTFS_ASSIGN_OR_RETURN(o.part_bytes, ParseByteSize(v));
       if (o.part_bytes < kMinPartBytes || o.part_bytes > kMaxPartBytes) {
         return Fail(ErrorCode::kInvalidArgument,
                     "\"" + v +
                         "\" is out of range; S3 takes parts of 5MiB to "
                         "5GiB");
       }
       return {};
     }},
    {"--drain-timeout", "SECONDS",
     "How long the end of the mount waits for files that are still being "
     "written (default: 60)",
     [](const std::string& v, MountOptions& o) -> Result<void> {
       CKPTFS_ASSIGN_OR_RETURN(const std::uint32_t seconds, ParseNumber(v));
       o.drain_timeout = std::chrono::seconds(seconds);
       return {};
     }},
    {"--invisible-writers", "WHEN",
     "When to publish what a writer without a visible pid (in another "
     "container) wrote: close, at each close of a descriptor (default); or "
     "fsync-rename, at fsync, rename and the end of its last descriptor only",
     [](const std::string& v, MountOptions& o) -> Result<void> {
       CKPTFS_ASSIGN_OR_RETURN(o.invisible_writers, ParseInvisibleWriters(v));
       return {};
     }},
    {"--foreground", nullptr, "Stay in the foreground; log to stderr",
     [](const std::string&, MountOptions& o) -> Result<void> {
       o.foreground = true;
       return {};
     }},
    {"--log-level", "LEVEL",
     "debug, info, warning, error or off (default: info)",
     [](const std::string& v, MountOptions& o) -> Result<void> {
       CKPTFS_ASSIGN_OR_RETURN(o.log_level, ParseLogLevel(v));
       return {};
     }},
    {"--log-file", "FILE",
     "Log to this file (default in the background: "
     "/var/log/ckptfs/MOUNT-POINT.log for root, "
     "~/.local/state/ckptfs/MOUNT-POINT.log otherwise)",
     [](const std::string& v, MountOptions& o) -> Result<void> {
       o.log_file = v;
       return {};
     }},
};

// Options that people will reach for and that are not there yet: a clear
// answer is better than "unknown option". They are not in --help.
const OptionRow<MountOptions> kUnservedMountOptions[] = {
    {"--cache-dir", "DIR", "",
     [](const std::string&, MountOptions&) -> Result<void> {
       return NotServed(
           "there is no cache directory yet: nothing is spilled to disk; leave "
           "the option out");
     }},
};

const OptionRow<InspectOptions> kInspectOptions[] = {
    {"--json", nullptr, "Print one JSON object instead of tables",
     [](const std::string&, InspectOptions& o) -> Result<void> {
       o.json = true;
       return {};
     }},
};

std::size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      const std::size_t change = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({above + 1, row[j - 1] + 1, change});
      diagonal = above;
    }
  }
  return row[b.size()];
}

PrintAndExit UsageError(std::string message) {
  // CLI11 ends some messages with a newline or spreads them over lines.
  while (!message.empty() && message.back() == '\n') message.pop_back();
  std::replace(message.begin(), message.end(), '\n', ' ');
  return {"", "ckptfs: " + std::move(message) + "\n", ExitCode::kUsage};
}

// What is wrong with arguments that nobody took.
PrintAndExit LeftOver(const CLI::App& app,
                      const std::vector<std::string>& remaining) {
  const auto option =
      std::find_if(remaining.begin(), remaining.end(),
                   [](const std::string& r) { return r.substr(0, 1) == "-"; });
  const std::string command = "ckptfs " + app.get_name();
  if (option == remaining.end()) {
    return UsageError("unexpected argument \"" + remaining.front() +
                      "\"; see " + command + " --help");
  }
  const std::string name = option->substr(0, option->find('='));
  std::string nearest;
  std::size_t distance = 4;  // farther names are no misspelling
  for (const CLI::Option* known : app.get_options()) {
    if (known->get_lnames().empty() || known->get_group().empty()) continue;
    const std::string long_name = "--" + known->get_lnames().front();
    const std::size_t d = EditDistance(name, long_name);
    if (d < distance) {
      distance = d;
      nearest = long_name;
    }
  }
  return UsageError("unknown option " + name +
                    (nearest.empty() ? "" : "; did you mean " + nearest + "?") +
                    " See " + command + " --help");
}

template <typename Options, std::size_t n>
void AddRows(CLI::App& app, const OptionRow<Options> (&rows)[n],
             std::type_identity_t<Options>& options, const char* group) {
  for (const OptionRow<Options>& row : rows) {
    const auto apply = [&row, &options](const std::string& value) {
      const Result<void> result = row.apply(value, options);
      if (!result.has_value()) {
        throw CLI::ValidationError(row.name, result.error().message());
      }
    };
    CLI::Option* option = nullptr;
    if (row.value_name == nullptr) {
      option =
          app.add_flag_callback(row.name, [apply] { apply(""); }, row.help);
    } else {
      option = app.add_option_function<std::string>(row.name, apply, row.help);
      option->type_name(row.value_name);
    }
    option->group(group);
  }
}

constexpr char kFileHelp[] =
    "s3://bucket/key, or the path of a file; or of a DCP folder";

Result<void> CheckPath(const std::string& command, const std::string& path) {
  if (path.empty()) {
    return Fail(
        ErrorCode::kInvalidArgument,
        command + " needs a file: ckptfs " + command + " s3://bucket/key");
  }
  CKPTFS_RETURN_IF_ERROR(ParseLocation(path));
  return {};
}

}  // namespace

Command ParseCommandLine(int argc, const char* const* argv) {
  CLI::App app(
      "ckptfs mounts an S3 prefix as a directory for checkpoints: a file "
      "whose\n"
      "close() succeeded is a plain object, whole, under its name. It also "
      "looks\n"
      "into checkpoint files, in S3 and elsewhere.");
  app.name("ckptfs");
  app.set_version_flag("--version", "ckptfs " CKPTFS_VERSION);
  app.require_subcommand(0, 1);
  app.allow_extras();

  MountOptions mount_options;
  std::string source;
  CLI::App* mount = app.add_subcommand("mount", "Mount a bucket or a prefix");
  mount->add_option("SOURCE", source, "s3://bucket or s3://bucket/prefix")
      ->type_name("");
  mount
      ->add_option("DIR", mount_options.mount_point,
                   "An existing directory to mount on")
      ->type_name("");
  AddRows(*mount, kStoreOptions, mount_options, "Options");
  AddRows(*mount, kMountOptions, mount_options, "Options");
  AddRows(*mount, kUnservedMountOptions, mount_options, "");
  mount->footer(kMountFooter);
  mount->allow_extras();

  UmountOptions umount_options;
  CLI::App* umount =
      app.add_subcommand("umount", "Publish what is written, then unmount");
  umount->add_option("DIR", umount_options.mount_point, "The mount point")
      ->type_name("");
  umount->footer(kUmountFooter);
  umount->allow_extras();

  InspectOptions inspect_options;
  CLI::App* inspect = app.add_subcommand(
      "inspect", "List what is in a checkpoint file, by its headers");
  inspect->add_option("FILE", inspect_options.path, kFileHelp)->type_name("");
  AddRows(*inspect, kStoreOptions, inspect_options, "Options");
  AddRows(*inspect, kInspectOptions, inspect_options, "Options");
  inspect->footer(kInspectFooter);
  inspect->allow_extras();

  VerifyOptions verify_options;
  CLI::App* verify = app.add_subcommand(
      "verify", "Compare a checkpoint file with its checksums");
  verify->add_option("FILE", verify_options.path, kFileHelp)->type_name("");
  AddRows(*verify, kStoreOptions, verify_options, "Options");
  verify->footer(kVerifyFooter);
  verify->allow_extras();

  CLI::App* version = app.add_subcommand("version", "Print the version");
  version->allow_extras();

  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& done) {  // --help, --version
    std::ostringstream out;
    app.exit(done, out, out);
    return PrintAndExit{out.str(), "", ExitCode::kSuccess};
  } catch (const CLI::ParseError& error) {
    return UsageError(error.what());
  }
  for (const CLI::App* command : {mount, umount, inspect, verify, version}) {
    if (command->parsed() && command->remaining_size() > 0) {
      return LeftOver(*command, command->remaining());
    }
  }
  if (version->parsed()) {
    return PrintAndExit{"ckptfs " CKPTFS_VERSION "\n", "", ExitCode::kSuccess};
  }
  if (umount->parsed()) {
    if (umount_options.mount_point.empty()) {
      return UsageError("umount needs the mount point: ckptfs umount DIR");
    }
    return umount_options;
  }
  if (inspect->parsed()) {
    const Result<void> path = CheckPath("inspect", inspect_options.path);
    if (!path.has_value()) return UsageError(path.error().message());
    return inspect_options;
  }
  if (verify->parsed()) {
    const Result<void> path = CheckPath("verify", verify_options.path);
    if (!path.has_value()) return UsageError(path.error().message());
    return verify_options;
  }
  if (!mount->parsed()) {
    const std::vector<std::string> rest = app.remaining();
    return UsageError(
        (rest.empty() ? std::string("no command given")
                      : "unknown command \"" + rest.front() + "\"") +
        "; use mount, umount, inspect, verify or version, see ckptfs --help");
  }
  if (source.empty() || mount_options.mount_point.empty()) {
    return UsageError(
        "mount needs a bucket and a directory: ckptfs mount "
        "s3://bucket/prefix DIR");
  }
  Result<BucketUri> uri = ParseBucketUri(source);
  if (!uri.has_value()) return UsageError(uri.error().message());
  mount_options.source = *std::move(uri);
  const std::uint64_t limit = mount_options.memory_limit_bytes != 0
                                  ? mount_options.memory_limit_bytes
                                  : DefaultMemoryLimit();
  // One part is filled while the one before it is sent.
  if (mount_options.part_bytes > limit / 2) {
    return UsageError("this --part-size needs a --memory-limit of at least " +
                      std::to_string((2 * mount_options.part_bytes) >> 20) +
                      "MiB");
  }
  return mount_options;
}

}  // namespace ckptfs::cli
