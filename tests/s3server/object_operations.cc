// The operations on one object.
#include "s3server/byte_range.h"
#include "s3server/digest.h"
#include "s3server/s3_operations.h"
#include "s3server/xml_writer.h"

namespace ckptfs::s3server {
namespace {

constexpr std::uint64_t kMaxCopyBytes = 5ULL << 30;

void DescribeObject(const Object& object, Response* response) {
  response->Set("ETag", Quote(object.etag));
  response->Set("Last-Modified", HttpDate(object.last_modified));
  response->Set("Accept-Ranges", "bytes");
  response->Set("Content-Type", "binary/octet-stream");
  for (const auto& [name, value] : object.metadata.headers) {
    response->Set(name, value);
  }
  // S3 tells it to those who may read the tags.
  if (!object.metadata.tags.empty()) {
    response->Set("x-amz-tagging-count",
                  std::to_string(object.metadata.tags.size()));
  }
}

}  // namespace

Reply<Response> S3Operations::GetObject(const Call& call) const {
  const Request& request = call.request;
  if (request.Query("partNumber")) {
    return Refuse(501, "NotImplemented",
                  "Reading by part number is not implemented");
  }
  const auto found = table_.Get(call.operation.bucket, call.operation.key);
  if (!found) {
    // Without list permission S3 does not tell that a key is absent.
    if (options_.deny_list && found.error().code == "NoSuchKey") {
      return Refuse(403, "AccessDenied", "Access Denied");
    }
    return Refuse(found.error());
  }
  const Object& object = **found;
  const Conditions conditions = ConditionsOf(request);
  if (conditions.if_match && !MatchesETag(*conditions.if_match, object.etag)) {
    return Refuse(
        S3Error{412,
                "PreconditionFailed",
                "At least one of the pre-conditions you specified did not hold",
                {{"Condition", "If-Match"}}});
  }
  Response response;
  if (conditions.if_none_match &&
      MatchesETag(*conditions.if_none_match, object.etag)) {
    response.status = 304;
    response.Set("ETag", Quote(object.etag));
    return response;
  }
  DescribeObject(object, &response);
  const std::uint64_t size = object.content.size();
  const std::string* header = request.Header("range");
  const RangeAnswer answer = header ? ParseRange(*header, size) : RangeAnswer{};
  switch (answer.kind) {
    case RangeAnswer::Kind::kWhole: response.body = object.content; break;
    case RangeAnswer::Kind::kUnsatisfiable:
      return Refuse(S3Error{416,
                            "InvalidRange",
                            "The requested range is not satisfiable",
                            {{"RangeRequested", *header},
                             {"ActualObjectSize", std::to_string(size)}}});
    case RangeAnswer::Kind::kRange:
      response.status = 206;
      response.body =
          object.content.Slice(answer.range.first, answer.range.length);
      response.Set(
          "Content-Range",
          "bytes " + std::to_string(answer.range.first) + "-" +
              std::to_string(answer.range.first + answer.range.length - 1) +
              "/" + std::to_string(size));
      break;
  }
  if (request.method == "HEAD") {
    response.announced_length = response.body.size();
    response.body = {};
  }
  return response;
}

Reply<Response> S3Operations::PutObject(const Call& call) const {
  auto metadata = MetadataOf(call.request);
  if (!metadata) return Refuse(metadata.error());
  const auto put =
      table_.Put(call.operation.bucket, call.operation.key, call.request.body,
                 call.body_etag, std::move(*metadata),
                 ConditionsOf(call.request), call.now);
  if (!put) return Refuse(put.error());
  Response response;
  response.Set("ETag", Quote((*put)->etag));
  return response;
}

// The object that x-amz-copy-source names, its conditions checked.
Reply<ObjectPtr> S3Operations::CopySource(const Call& call) const {
  const Request& request = call.request;
  std::string source = request.HeaderOr("x-amz-copy-source", "");
  const std::size_t mark = source.find("?versionId=");
  if (mark != std::string::npos) {
    if (source.substr(mark) != "?versionId=null") {
      return Refuse(400, "InvalidArgument", "Invalid version id specified");
    }
    source.resize(mark);
  }
  const auto decoded = PercentDecode(source);
  const std::string_view path = !decoded
                                    ? std::string_view()
                                    : std::string_view(*decoded).substr(
                                          decoded->starts_with('/') ? 1 : 0);
  const std::size_t slash = path.find('/');
  if (slash == std::string_view::npos || slash == 0 ||
      slash + 1 == path.size()) {
    return Refuse(400, "InvalidArgument",
                  "Copy Source must mention the source bucket and key: "
                  "sourcebucket/sourcekey");
  }
  auto object = table_.Get(std::string(path.substr(0, slash)),
                           std::string(path.substr(slash + 1)));
  if (!object) return object;
  const std::string* match = request.Header("x-amz-copy-source-if-match");
  const std::string* none = request.Header("x-amz-copy-source-if-none-match");
  if ((match && !MatchesETag(*match, (*object)->etag)) ||
      (none && MatchesETag(*none, (*object)->etag))) {
    return Refuse(
        S3Error{412,
                "PreconditionFailed",
                "At least one of the pre-conditions you specified did not hold",
                {{"Condition", match ? "x-amz-copy-source-If-Match"
                                     : "x-amz-copy-source-If-None-Match"}}});
  }
  return object;
}

Reply<Response> S3Operations::CopyObject(const Call& call) const {
  const Request& request = call.request;
  const auto source = CopySource(call);
  if (!source) return Refuse(source.error());
  if ((*source)->content.size() > kMaxCopyBytes) {
    return Refuse(400, "InvalidRequest",
                  "The specified copy source is larger than the maximum "
                  "allowable size for a copy source: 5368709120");
  }
  const std::string directive =
      request.HeaderOr("x-amz-metadata-directive", "COPY");
  Metadata metadata = (*source)->metadata;
  if (directive == "REPLACE") {
    auto own = MetadataOf(request);
    if (!own) return Refuse(own.error());
    metadata = std::move(*own);
  } else if (directive != "COPY") {
    return Refuse(400, "InvalidArgument", "Unknown metadata directive.");
  } else {
    const auto target = table_.Get(call.operation.bucket, call.operation.key);
    if (target && *target == *source) {
      return Refuse(400, "InvalidRequest",
                    "This copy request is illegal because it is trying to copy "
                    "an object to itself without changing the object's "
                    "metadata, storage class, website redirect location or "
                    "encryption attributes.");
    }
  }
  if (directive == "COPY") {
    // How the source is kept does not travel along.
    std::erase_if(metadata.headers,
                  [](const auto& h) { return IsStoredOption(h.first); });
    for (const auto& [name, value] : request.headers) {
      if (IsStoredOption(name)) metadata.headers[name] = value;
    }
  }
  const std::string tagging =
      request.HeaderOr("x-amz-tagging-directive", "COPY");
  if (tagging == "COPY") {
    metadata.tags = (*source)->metadata.tags;
  } else if (tagging == "REPLACE") {
    auto own = TagsOf(request);
    if (!own) return Refuse(own.error());
    metadata.tags = std::move(*own);
  } else {
    return Refuse(400, "InvalidArgument", "Unknown tagging directive.");
  }
  // A copy is one part whatever its source was, so the ETag is made afresh.
  const auto put =
      table_.Put(call.operation.bucket, call.operation.key, (*source)->content,
                 "", std::move(metadata), ConditionsOf(request), call.now);
  if (!put) return Refuse(put.error());
  XmlWriter xml("CopyObjectResult");
  xml.Element("LastModified", IsoDate((*put)->last_modified));
  xml.Element("ETag", Quote((*put)->etag));
  return XmlResponse(xml.Finish());
}

Reply<Response> S3Operations::DeleteObject(const Call& call) const {
  const auto deleted = table_.Delete(call.operation.bucket, call.operation.key,
                                     ConditionsOf(call.request));
  if (!deleted) return Refuse(deleted.error());
  return Response{.status = 204};
}

}  // namespace ckptfs::s3server
