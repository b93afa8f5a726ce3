// OpenS3Store: options and AWS_* variables checked, the store's parts built.
// S3EndpointUrl: where it leads.

#include <ckptfs/object_store.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <system_error>
#include <utility>

#include "common/clock.h"
#include "common/executors.h"
#include "http/curl_transport.h"
#include "s3/credentials/find_credentials.h"
#include "s3/endpoint.h"
#include "s3/request_headers.h"
#include "store/s3_object_store.h"

namespace ckptfs {

namespace {

// Threads that sign, parse and decide. Two, so that a payload that must be
// hashed (plain http to a store that wants it) does not stop everything else.
constexpr int kWorkers = 2;

std::string FirstOf(const std::string& option,
                    std::initializer_list<const char*> variables) {
  if (!option.empty()) return option;
  for (const char* name : variables) {
    const char* value = std::getenv(name);
    if (value != nullptr && *value != '\0') return value;
  }
  return "";
}

std::string RegionOf(const S3StoreOptions& options,
                     const FoundCredentials& found) {
  std::string region =
      FirstOf(options.region, {"AWS_REGION", "AWS_DEFAULT_REGION"});
  if (region.empty()) region = found.region;
  return region.empty() ? "us-east-1" : region;
}

// 0: any number.
Result<int> MaxAttemptsOf(const S3StoreOptions& options) {
  constexpr int kMost = 64;
  int count = 0;
  std::string given;
  std::string name = "max_attempts";
  if (options.max_attempts.has_value()) {
    count = *options.max_attempts;
    given = std::to_string(count);
  } else {
    name = "AWS_MAX_ATTEMPTS";
    given = FirstOf("", {name.c_str()});
    if (given.empty()) return 0;
    const char* const end = given.data() + given.size();
    const auto [rest, error] = std::from_chars(given.data(), end, count);
    if (error != std::errc() || rest != end) count = 0;
  }
  if (count >= 1 && count <= kMost) return count;
  return Fail(
      ErrorCode::kInvalidArgument,
      name + " must be from 1 to " + std::to_string(kMost) + ", not " + given);
}

// Empty: AWS.
std::string CustomEndpointOf(const S3StoreOptions& options) {
  return FirstOf(options.endpoint_url,
                 {"AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"});
}

}  // namespace

Result<std::string> S3EndpointUrl(const S3StoreOptions& options) {
  std::string custom = CustomEndpointOf(options);
  if (!custom.empty()) return custom;
  CKPTFS_ASSIGN_OR_RETURN(const FoundCredentials found,
                          FindCredentials(options));
  return "https://" + Endpoint::AwsHost(RegionOf(options, found));
}

Result<std::unique_ptr<ObjectStore>> OpenS3Store(
    const S3StoreOptions& options) {
  if (options.http_threads < 1 || options.http_threads > 64) {
    return Fail(ErrorCode::kInvalidArgument,
                "http_threads must be from 1 to 64");
  }
  if (options.max_connections < 1 || options.max_connections > 4096) {
    return Fail(ErrorCode::kInvalidArgument,
                "max_connections must be from 1 to 4096");
  }
  CKPTFS_ASSIGN_OR_RETURN(const int max_attempts, MaxAttemptsOf(options));
  CKPTFS_ASSIGN_OR_RETURN(RequestHeaders headers, RequestHeadersOf(options));
  CKPTFS_ASSIGN_OR_RETURN(FoundCredentials found, FindCredentials(options));
  std::string region = RegionOf(options, found);
  CKPTFS_ASSIGN_OR_RETURN(
      Endpoint endpoint,
      Endpoint::Create(CustomEndpointOf(options), region, options.bucket,
                       options.force_path_style));
  const std::string ca_file = FirstOf(options.ca_file, {"AWS_CA_BUNDLE"});
  if (!ca_file.empty() && access(ca_file.c_str(), R_OK) != 0) {
    return Fail(ErrorCode::kInvalidArgument,
                "cannot read the CA file \"" + ca_file + "\"");
  }

  S3ObjectStore::Parts parts;
  try {
    parts.executor = std::make_unique<ThreadPool>("ckptfs-s3", kWorkers);
    parts.clock = std::make_unique<SystemClock>();
  } catch (const std::system_error& e) {
    return Fail(ErrorCode::kResourceExhausted,
                "cannot start the S3 client: a thread: " + e.code().message());
  }
  parts.credentials = std::move(found.provider);
  CKPTFS_ASSIGN_OR_RETURN(
      parts.transport,
      CurlTransport::Create({options.http_threads, options.max_connections,
                             ca_file, ProxySettings::FromEnvironment()}));
  S3ClientOptions client_options;
  client_options.jitter_seed = std::random_device()();
  client_options.retry.max_attempts = max_attempts;
  client_options.headers = std::move(headers);
  return std::make_unique<S3ObjectStore>(std::move(parts), std::move(endpoint),
                                         std::move(region),
                                         std::move(client_options));
}

}  // namespace ckptfs
