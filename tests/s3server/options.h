// The server's options, and their command line.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "s3server/sigv4_verifier.h"

namespace ckptfs::s3server {

struct Options {
  std::string host = "127.0.0.1";
  std::uint16_t port = 0;  // 0: a free one
  std::vector<std::string> buckets = {};
  Credentials credentials = {"test", "testtesttest", ""};
  std::string region = "us-east-1";  // "": any
  bool no_auth = false;
  bool requester_pays = false;
  bool deny_list = false;
  bool bench = false;
  bool discard_bodies = false;
  std::uint64_t min_part_bytes = 5 << 20;
  std::string tls_cert = {};
  std::string tls_key = {};
  std::string tls_self_signed = {};
  std::int64_t latency_ms = 0;
  double conn_mibs = 0;
  std::int64_t clock_offset_s = 0;
  std::vector<std::string> faults = {};  // "op=UploadPart&action=fail"

  bool tls() const { return !tls_cert.empty() || !tls_self_signed.empty(); }
};

// The options, or the exit code of a program that has nothing more to do: help
// or a complaint was printed.
struct CommandLine {
  std::optional<Options> options;
  int exit_code = 0;
};
CommandLine ParseCommandLine(int argc, char** argv);

}  // namespace ckptfs::s3server
