// ObjectStore: the S3 operations the project is built on, typed and
// asynchronous. Implementations: S3 (OpenS3Store), memory (tests), decorators.
//
// Every operation
//   - is thread-safe, returns at once and never blocks;
//   - finishes exactly once; retries of what is safe to repeat happen inside;
//   - that writes or deletes and fails has not been carried out and will not
//   be,
//     unless the code is kOutcomeUnknown: then nobody could tell (for
//     CreateMultipart: an upload may be there whose id is not known);
//   - keeps the caller's memory (Payload, Destination) referenced through the
//     `owner` it carries until no thread touches it any more, also after a
//     cancellation or an error.
// Keys are byte strings of at most 1,024 bytes, relative to the bucket.
#pragma once

#include <ckptfs/export.h>
#include <ckptfs/future.h>
#include <ckptfs/result.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

namespace ckptfs {

// An opaque generation of an object, quotes included, exactly as the server
// sent it. Never a digest.
struct ETag {
  std::string value;
  bool empty() const { return value.empty(); }
  friend bool operator==(const ETag&, const ETag&) = default;
};

// User metadata without the "x-amz-meta-" prefix; names in lower case.
using UserMetadata = std::map<std::string, std::string>;

// Bytes to send: gathered, uncopied, immutable while an operation holds them.
struct Payload {
  std::vector<std::span<const std::byte>> segments;
  std::shared_ptr<const void> owner;  // keeps every segment alive

  std::uint64_t size() const {
    std::uint64_t n = 0;
    for (const auto& s : segments) n += s.size();
    return n;
  }
};

// Where received bytes go: scattered, filled in order.
struct Destination {
  std::vector<std::span<std::byte>> segments;
  std::shared_ptr<void> owner;  // keeps every segment alive

  std::uint64_t size() const {
    std::uint64_t n = 0;
    for (const auto& s : segments) n += s.size();
    return n;
  }
};

// Common to all requests.
struct RequestOptions {
  // Stops retries and the transfer in flight; the result is kCancelled.
  std::stop_token stop;
  // Time for the operation with all its retries, whatever it does when the time
  // is over; the result is kDeadlineExceeded. Zero: as long as it makes
  // progress (S3: given up after 120 s without any, Complete and copies after
  // 15 min).
  std::chrono::milliseconds deadline{0};
};

// Headers that S3 hands to an object's readers as its writer gave them. Empty:
// not given.
struct SystemHeaders {
  std::string content_encoding;
  std::string cache_control;
  std::string content_disposition;
  std::string content_language;
  std::string expires;  // the text: S3 takes what is no date, too
  friend bool operator==(const SystemHeaders&, const SystemHeaders&) = default;
};

// Tags of an object: names and values as they are, not encoded.
using ObjectTags = std::map<std::string, std::string>;

// What a new object carries.
struct ObjectAttributes {
  UserMetadata metadata;
  std::string content_type;  // empty: binary/octet-stream
  SystemHeaders headers{};
  // Of Put and CreateMultipart alone. Where capabilities().tagging is false,
  // tags are kUnsupported.
  ObjectTags tags{};
};

struct ObjectInfo {
  std::string key;
  std::uint64_t size = 0;
  ETag etag;
  std::string version_id;  // empty on an unversioned bucket
  std::chrono::system_clock::time_point last_modified{};
  UserMetadata metadata;     // Head and Get only; empty in listings
  std::string content_type;  // Head and Get only
  std::string storage_class;
  SystemHeaders headers;  // Head and Get only
  // Head and Get only; GetTags gives the tags. S3 tells it to those alone who
  // may read the tags; 0 from stores that do not tell it.
  int tag_count = 0;

  // What an object must be given to be like this one, but for the tags.
  ObjectAttributes attributes() const {
    return {metadata, content_type, headers};
  }
};

struct HeadRequest {
  std::string key;
  RequestOptions options;
};

struct GetRequest {
  std::string key;
  // [offset, offset + destination.size()). An object that ends earlier gives
  // a shorter result, one that ends at or before `offset` an empty one; both
  // are successes.
  std::uint64_t offset = 0;
  Destination destination;
  // Empty: whatever is there. Otherwise kPreconditionFailed if the object is
  // no longer this one. (A transfer that breaks resumes with the ETag of its
  // first response in any case, so that one Get never mixes two versions; an
  // object replaced in between then gives kStale.)
  ETag if_match;
  std::string version_id;
  RequestOptions options;
};
struct GetResult {
  std::uint64_t bytes = 0;  // written to the destination, from its start
  ObjectInfo info;          // info.size is that of the whole object
};

// Conditions on what a write replaces. A condition is never dropped: where the
// endpoint does not support it, the result of Put and CompleteMultipart is
// kUnsupported; Copy looks at the destination first and then copies (see
// StoreCapabilities::conditional_copy).
struct WriteCondition {
  bool if_none_match = false;  // only if the key does not exist
  ETag if_match;               // only if the key is this version
  bool empty() const { return !if_none_match && if_match.empty(); }
};

struct PutRequest {
  std::string key;
  Payload payload;  // <= 5 GiB
  ObjectAttributes attributes;
  WriteCondition condition;  // kPreconditionFailed if it does not hold
  RequestOptions options;
};
struct PutResult {
  ETag etag;
  std::string version_id;
};

struct CreateMultipartRequest {
  std::string key;
  ObjectAttributes attributes;
  RequestOptions options;
};
struct MultipartUpload {
  std::string key;
  std::string upload_id;
};

struct UploadPartRequest {
  MultipartUpload upload;
  int part_number = 0;  // 1 ... 10,000
  Payload payload;      // >= 5 MiB but for the last part, <= 5 GiB
  RequestOptions options;
};
struct UploadPartCopyRequest {
  MultipartUpload upload;
  int part_number = 0;
  std::string source_key;  // same bucket
  ETag source_if_match;    // kPreconditionFailed if the source changed
  std::uint64_t offset = 0;
  std::uint64_t length = 0;  // >= 5 MiB but for the last part
  RequestOptions options;
};
struct CompletedPart {
  int part_number = 0;
  ETag etag;
  std::uint64_t size = 0;
};

struct CompleteMultipartRequest {
  MultipartUpload upload;
  std::vector<CompletedPart> parts;  // ascending part numbers
  WriteCondition condition;
  // The nonce put into the upload's metadata at creation (attributes.metadata
  // ["ckptfs-nonce"]); with it a lost reply is settled by Head.
  std::string nonce;
  RequestOptions options;
};
// The metadata name under which a writer's nonce travels.
inline constexpr char kNonceMetadataName[] = "ckptfs-nonce";

struct AbortMultipartRequest {
  MultipartUpload upload;
  RequestOptions options;
};

struct ListPartsRequest {
  MultipartUpload upload;
  int part_number_marker = 0;
  RequestOptions options;
};
struct ListPartsResult {
  std::vector<CompletedPart> parts;
  bool truncated = false;
  int next_part_number_marker = 0;
};

struct ListUploadsRequest {
  std::string prefix;
  std::string key_marker;
  std::string upload_id_marker;
  RequestOptions options;
};
struct ListUploadsResult {
  struct Upload {
    MultipartUpload upload;
    std::chrono::system_clock::time_point initiated{};
  };
  std::vector<Upload> uploads;
  bool truncated = false;
  std::string next_key_marker;
  std::string next_upload_id_marker;
};

struct CopyRequest {
  std::string source_key;
  ETag source_if_match;  // kPreconditionFailed if the source changed
  std::string key;
  // Unset: the source's attributes travel along. Its tags travel in any case:
  // kInvalidArgument if there are others here.
  std::optional<ObjectAttributes> replace_attributes;
  // On the destination. A copy onto itself with source_if_match and without
  // this is held to the same version there, where the endpoint can do that.
  WriteCondition condition;
  // The nonce in the attributes that travel, if there is one; with it a lost
  // reply is settled by Head.
  std::string nonce;
  RequestOptions options;  // one CopyObject: source <= 5 GiB
};

// An absent key is a success, with if_match too: what was to go is gone. (S3
// answers 404 then, or 204 in directory buckets.)
struct DeleteRequest {
  std::string key;
  // Empty: whatever is there. Otherwise kPreconditionFailed if the key is
  // another version. Where StoreCapabilities::conditional_delete is false, that
  // is looked at first, and a version written just then is deleted.
  ETag if_match{};
  RequestOptions options{};
};
struct DeleteManyRequest {
  std::vector<std::string> keys;  // any number
  RequestOptions options;
};
struct DeleteManyResult {
  struct Failure {
    std::string key;
    Error error;
  };
  std::vector<Failure> failures;
};

struct GetTagsRequest {
  std::string key;
  std::string version_id;  // empty: the current one
  RequestOptions options;
};

struct ListRequest {
  std::string prefix;
  std::string delimiter;           // empty or "/"
  std::string start_after;         // keys > this
  std::string continuation_token;  // from the page before
  int max_keys = 1000;
  RequestOptions options;
};
struct ListResult {
  std::vector<ObjectInfo> objects;           // ascending by key bytes
  std::vector<std::string> common_prefixes;  // each ends in the delimiter
  bool truncated = false;
  std::string next_continuation_token;
};

// What the endpoint is known to honour. It may be learnt by the first request
// of a kind, so that an answer can change from true to false.
struct StoreCapabilities {
  bool conditional_put = true;       // If-None-Match / If-Match on Put
  bool conditional_complete = true;  // the same on CompleteMultipartUpload
  bool upload_part_copy = true;
  // On the destination of Copy, and on Delete. False: the store looks and then
  // acts, which is not atomic.
  bool conditional_copy = true;
  bool conditional_delete = true;
  bool tagging = true;  // GetTags, and tags on new objects
};

class CKPTFS_EXPORT ObjectStore {
 public:
  virtual ~ObjectStore() = default;

  virtual Future<ObjectInfo> Head(HeadRequest request) = 0;
  virtual Future<GetResult> Get(GetRequest request) = 0;
  virtual Future<PutResult> Put(PutRequest request) = 0;
  virtual Future<MultipartUpload> CreateMultipart(
      CreateMultipartRequest request) = 0;
  virtual Future<CompletedPart> UploadPart(UploadPartRequest request) = 0;
  virtual Future<CompletedPart> UploadPartCopy(
      UploadPartCopyRequest request) = 0;
  virtual Future<PutResult> CompleteMultipart(
      CompleteMultipartRequest request) = 0;
  // An upload that no longer exists is a success.
  virtual Future<void> AbortMultipart(AbortMultipartRequest request) = 0;
  virtual Future<ListPartsResult> ListParts(ListPartsRequest request) = 0;
  virtual Future<ListUploadsResult> ListMultipartUploads(
      ListUploadsRequest request) = 0;
  virtual Future<PutResult> Copy(CopyRequest request) = 0;
  virtual Future<void> Delete(DeleteRequest request) = 0;
  virtual Future<DeleteManyResult> DeleteMany(DeleteManyRequest request) = 0;
  // Empty for an object without tags. kUnsupported where the store has none.
  virtual Future<ObjectTags> GetTags(GetTagsRequest request) = 0;
  virtual Future<ListResult> List(ListRequest request) = 0;
  virtual StoreCapabilities capabilities() const = 0;
};

// How to reach a bucket. Fields left empty are taken from the AWS_*
// environment variables and profiles, as the AWS tools do.
//
// Credentials are those of the first of these that is given:
//   1. unsigned_requests              none
//   2. access_key_id ...              these
//   3. profile                        of the profile files
//   4. AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
//   5. AWS_PROFILE                    of the profile files
//   6. the profile "default"
// and the region is the first of: region, AWS_REGION, AWS_DEFAULT_REGION, that
// of the profile named above (only if it was read), us-east-1.
//
// The profile files are AWS_SHARED_CREDENTIALS_FILE (~/.aws/credentials) and
// AWS_CONFIG_FILE (~/.aws/config); of what both hold the former counts. They
// are read once, when the store is opened. Profiles whose keys come from a
// role, a process or single sign-on are refused by the name of that setting.
struct S3StoreOptions {
  std::string bucket;
  std::string region;  // AWS_REGION, AWS_DEFAULT_REGION, us-east-1
  std::string
      endpoint_url;     // AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL; empty: AWS
  std::string ca_file;  // PEM bundle; AWS_CA_BUNDLE; empty: the system's
  std::string access_key_id;  // with secret_access_key; excludes profile
  std::string secret_access_key;
  std::string session_token;  // empty for long-lived keys
  std::string profile;        // of the profile files
  // Anonymous requests, without Authorization. Excludes access_key_id and
  // requester_pays; of a profile that is named only the region is taken.
  bool unsigned_requests = false;
  // The requester is charged: needed on buckets that want it, on every request.
  bool requester_pays = false;
  // Of the objects that are made, be it by Put, upload in parts or Copy. Empty:
  // the bucket's defaults.
  std::string storage_class;   // e.g. STANDARD_IA
  std::string sse;             // AES256, aws:kms or aws:kms:dsse
  std::string sse_kms_key_id;  // with the latter two; empty: the AWS one
  std::optional<bool> sse_bucket_key;  // with aws:kms
  // Path style is taken for custom endpoints, virtual-host style for AWS,
  // unless this says otherwise.
  std::optional<bool> force_path_style;
  int http_threads = 2;      // curl event loops
  int max_connections = 64;  // requests on the wire at once; the rest queue
  // Unset: a request is repeated until it has made no progress for two minutes
  // (15 where S3 publishes or copies something large), however often that is.
  // Set, 1 (no retries) to 64: it is also given up after that many attempts
  // without progress, the first included. Progress is an attempt that got
  // further than those before it: by any byte of a download, by 64 KiB of an
  // upload. Damaged transfers end after 3. Empty: AWS_MAX_ATTEMPTS; unset.
  std::optional<int> max_attempts;
};

// Opens a store on one bucket. Starts its threads; does not talk to the
// server. Errors: kInvalidArgument (option and reason named),
// kUnauthenticated (no credentials found, and where they were looked for),
// kUnsupported (a profile with keys from elsewhere), kResourceExhausted (no
// threads, descriptors or memory to run on). Blocks while it reads the profile
// files.
//
// Proxies are those of the environment at this moment, as curl(1) reads it:
// http_proxy, https_proxy, HTTPS_PROXY, all_proxy, ALL_PROXY, and no_proxy or
// NO_PROXY for the hosts, domains, addresses and networks to be reached
// without.
CKPTFS_EXPORT Result<std::unique_ptr<ObjectStore>> OpenS3Store(
    const S3StoreOptions& options);

// The URL of the service that such a store talks to, e.g.
// "https://s3.eu-central-1.amazonaws.com". The errors of credentials, which may
// come with the region; blocks while it reads the profile files.
CKPTFS_EXPORT Result<std::string> S3EndpointUrl(const S3StoreOptions& options);

}  // namespace ckptfs
