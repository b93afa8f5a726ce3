// The command line: one table of options, from which the parser and --help are
// made, and with which a test compares the manual.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "cli/bucket_uri.h"
#include "cli/exit_code.h"
#include "common/log.h"
#include "fs/options.h"

namespace ckptfs::cli {

// How S3 is reached, whatever the command.
struct StoreArguments {
  std::string
      endpoint_url;     // empty: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, AWS
  std::string region;   // empty: AWS_REGION, AWS_DEFAULT_REGION, the profile's
  std::string profile;  // empty: S3StoreOptions says what counts then
  std::string ca_file;  // empty: AWS_CA_BUNDLE, the system's
  bool force_path_style = false;
};

struct MountOptions : StoreArguments {
  BucketUri source;
  std::string mount_point;

  bool read_only = false;
  bool allow_other = false;
  std::optional<uid_t> uid;  // unset: who mounts
  std::optional<gid_t> gid;
  std::uint64_t memory_limit_bytes = 0;  // 0: DefaultMemoryLimit()
  std::uint64_t part_bytes = 0;          // 0: grows with the file
  fs::InvisibleWriters invisible_writers = fs::InvisibleWriters::kClose;
  std::chrono::seconds drain_timeout{60};
  bool foreground = false;
  LogLevel log_level = LogLevel::kInfo;
  std::string log_file;  // empty: stderr, or DefaultLogFile() in background
};

struct UmountOptions {
  std::string mount_point;
};

struct InspectOptions : StoreArguments {
  std::string path;  // s3://bucket/key, or of a file
  bool json = false;
};

struct VerifyOptions : StoreArguments {
  std::string path;
};

// Nothing to do but to print and to leave.
struct PrintAndExit {
  std::string out;  // to stdout
  std::string err;  // to stderr
  ExitCode code = ExitCode::kSuccess;
};

using Command = std::variant<MountOptions, UmountOptions, InspectOptions,
                             VerifyOptions, PrintAndExit>;

// Never exits and prints nothing. What is wrong comes back as PrintAndExit
// with one line and kUsage.
Command ParseCommandLine(int argc, const char* const* argv);

}  // namespace ckptfs::cli
