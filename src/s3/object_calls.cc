#include "s3/object_calls.h"

#include <cctype>
#include <charconv>
#include <utility>

#include "s3/s3_error.h"
#include "s3/tagging_calls.h"
#include "s3/time_format.h"

namespace ckptfs {

namespace {

constexpr std::string_view kMetadataPrefix = "x-amz-meta-";

struct SystemHeader {
  std::string_view name;
  std::string SystemHeaders::* field;
};
constexpr SystemHeader kSystemHeaders[] = {
    {"Content-Encoding", &SystemHeaders::content_encoding},
    {"Cache-Control", &SystemHeaders::cache_control},
    {"Content-Disposition", &SystemHeaders::content_disposition},
    {"Content-Language", &SystemHeaders::content_language},
    {"Expires", &SystemHeaders::expires},
};

std::string Lower(std::string_view s) {
  std::string out(s);
  for (char& c : out) {
    c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return out;
}

bool FitsHeader(std::string_view value) {
  for (const char c : value) {
    const auto b = static_cast<unsigned char>(c);
    if (b < 0x20 || b == 0x7f) return false;
  }
  return true;
}

// How the body of a PutObject travelled; some stores keep it, and would take it
// for the truth when a copy sends it again.
std::string WithoutChunked(std::string encoding) {
  constexpr std::string_view kChunked = "aws-chunked";
  if (!Lower(encoding).starts_with(kChunked)) return encoding;
  const std::size_t next = encoding.find_first_not_of(" ,", kChunked.size());
  return next == std::string::npos ? "" : encoding.substr(next);
}

}  // namespace

Result<void> CheckKey(const std::string& key) {
  if (key.empty()) return Fail(ErrorCode::kInvalidArgument, "empty object key");
  if (key.size() > 1024) {
    return Fail(ErrorCode::kNameTooLong, "the object key has " +
                                             std::to_string(key.size()) +
                                             " bytes; S3 takes at most 1024");
  }
  return {};
}

Result<void> AddAttributes(const ObjectAttributes& attributes,
                           HttpHeaders& headers) {
  if (!FitsHeader(attributes.content_type)) {
    return Fail(ErrorCode::kInvalidArgument,
                "the content type holds control characters");
  }
  headers.Set("Content-Type", attributes.content_type.empty()
                                  ? "binary/octet-stream"
                                  : attributes.content_type);
  for (const auto& [name, field] : kSystemHeaders) {
    const std::string& value = attributes.headers.*field;
    if (value.empty()) continue;
    if (!FitsHeader(value)) {
      return Fail(ErrorCode::kInvalidArgument,
                  std::string(name) + " holds control characters");
    }
    headers.Set(std::string(name), value);
  }
  if (!attributes.tags.empty()) {
    headers.Set("x-amz-tagging", TaggingHeader(attributes.tags));
  }
  for (const auto& [name, value] : attributes.metadata) {
    bool token = !name.empty();
    for (const char c : name) {
      token = token && (std::isalnum(static_cast<unsigned char>(c)) != 0 ||
                        c == '-' || c == '_' || c == '.');
    }
    if (!token || !FitsHeader(value)) {
      return Fail(
          ErrorCode::kInvalidArgument,
          "user metadata \"" + name + "\" cannot travel in an HTTP header");
    }
    headers.Set(std::string(kMetadataPrefix) + name, value);
  }
  return {};
}

void AddCondition(const WriteCondition& condition, S3Request& request) {
  if (condition.empty()) return;
  if (condition.if_none_match) request.headers.Set("If-None-Match", "*");
  if (!condition.if_match.empty()) {
    request.headers.Set("If-Match", condition.if_match.value);
    request.requires_existing = true;
  }
  request.conditional_write = true;
  request.idempotency = Idempotency::kReconcile;
}

ETag ParseETag(std::string_view text) {
  if (text.empty()) return {};
  if (text.front() == '"' || text.starts_with("W/")) {
    return ETag{std::string(text)};
  }
  return ETag{"\"" + std::string(text) + "\""};
}

ObjectInfo ParseObjectHeaders(const std::string& key,
                              const HttpHeaders& headers) {
  ObjectInfo info;
  info.key = key;
  info.size = ContentLength(headers).value_or(0);
  info.etag = ParseETag(headers.Get("ETag"));
  info.version_id = headers.Get("x-amz-version-id");
  if (info.version_id == "null") info.version_id.clear();
  info.last_modified =
      ParseHttpDate(headers.Get("Last-Modified")).value_or(WallClockTime{});
  info.content_type = headers.Get("Content-Type");
  info.storage_class = headers.Get("x-amz-storage-class");
  for (const auto& [name, field] : kSystemHeaders) {
    info.headers.*field = headers.Get(name);
  }
  info.headers.content_encoding =
      WithoutChunked(std::move(info.headers.content_encoding));
  const std::string_view tags = headers.Get("x-amz-tagging-count");
  std::from_chars(tags.data(), tags.data() + tags.size(), info.tag_count);
  for (const auto& [name, value] : headers) {
    const std::string lower = Lower(name);
    if (lower.starts_with(kMetadataPrefix)) {
      info.metadata[lower.substr(kMetadataPrefix.size())] = value;
    }
  }
  return info;
}

S3Request BuildHead(const std::string& key, const ETag& if_match,
                    const std::string& version_id) {
  S3Request r;
  r.operation = "head";
  r.method = "HEAD";
  r.key = key;
  r.needs_length = true;
  if (!version_id.empty()) r.query.emplace_back("versionId", version_id);
  if (!if_match.empty()) r.headers.Set("If-Match", if_match.value);
  return r;
}

S3Request BuildGet(const std::string& key, const std::string& version_id,
                   std::shared_ptr<RangeDownload> download) {
  S3Request r;
  r.operation = "get";
  r.method = "GET";
  r.key = key;
  if (!version_id.empty()) r.query.emplace_back("versionId", version_id);
  r.download = std::move(download);
  return r;
}

Result<S3Request> BuildPut(PutRequest& request) {
  S3Request r;
  r.operation = "put";
  r.method = "PUT";
  r.key = request.key;
  CKPTFS_RETURN_IF_ERROR(CheckKey(request.key));
  CKPTFS_RETURN_IF_ERROR(AddAttributes(request.attributes, r.headers));
  AddCondition(request.condition, r);
  if (request.attributes.metadata.contains(kNonceMetadataName)) {
    r.idempotency = Idempotency::kReconcile;
  }
  r.body = std::exchange(request.payload, {});
  r.answers_empty = r.needs_etag = true;
  r.creates_object = true;
  return r;
}

PutResult ParsePut(const HttpResponse& response) {
  PutResult out;
  out.etag = ParseETag(response.headers.Get("ETag"));
  out.version_id = response.headers.Get("x-amz-version-id");
  if (out.version_id == "null") out.version_id.clear();
  return out;
}

}  // namespace ckptfs
