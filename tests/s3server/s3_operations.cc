#include "s3server/s3_operations.h"

#include <algorithm>
#include <array>

namespace ckptfs::s3server {

Response XmlResponse(std::string document) {
  Response response;
  response.Set("Content-Type", "application/xml");
  response.body = Content::FromString(document);
  return response;
}

Conditions ConditionsOf(const Request& request) {
  Conditions conditions;
  if (const auto* value = request.Header("if-match")) {
    conditions.if_match = *value;
  }
  if (const auto* value = request.Header("if-none-match")) {
    conditions.if_none_match = *value;
  }
  return conditions;
}

Reply<Metadata> MetadataOf(const Request& request) {
  constexpr std::array<std::string_view, 6> kKept = {
      "cache-control",    "content-disposition", "content-encoding",
      "content-language", "content-type",        "expires"};
  constexpr std::size_t kMaxUserBytes = 2048;  // S3: of names and values
  Metadata metadata;
  std::size_t user_bytes = 0;
  for (const auto& [name, value] : request.headers) {
    constexpr std::string_view kUser = "x-amz-meta-";
    if (name.starts_with(kUser)) {
      user_bytes += name.size() - kUser.size() + value.size();
      // Repeated headers are one list.
      std::string& slot = metadata.headers[name];
      slot += slot.empty() ? value : "," + value;
    } else if (std::find(kKept.begin(), kKept.end(), name) != kKept.end() ||
               IsStoredOption(name)) {
      metadata.headers[name] = value;
    }
  }
  if (user_bytes > kMaxUserBytes) {
    return Refuse(400, "MetadataTooLarge",
                  "Your metadata headers exceed the maximum allowed metadata "
                  "size");
  }
  // aws-chunked is how the body travelled, not what the object is.
  const auto coding = metadata.headers.find("content-encoding");
  if (coding != metadata.headers.end()) {
    std::string& value = coding->second;
    if (value.starts_with("aws-chunked")) {
      const std::size_t comma = value.find(',');
      value =
          comma == std::string::npos
              ? ""
              : std::string(Trim(std::string_view(value).substr(comma + 1)));
      if (value.empty()) metadata.headers.erase(coding);
    }
  }
  auto tags = TagsOf(request);
  if (!tags) return Refuse(tags.error());
  metadata.tags = std::move(*tags);
  return metadata;
}

Reply<std::size_t> LimitOf(const Request& request, std::string_view name) {
  const std::string* text = request.Query(name);
  if (!text || text->empty()) return std::size_t{1000};
  const auto value = ParseNumber(*text);
  if (!value) {
    return Refuse(400, "InvalidArgument",
                  "Provided " + std::string(name) +
                      " not an integer or within integer range");
  }
  return static_cast<std::size_t>(std::min<std::uint64_t>(*value, 1000));
}

std::string ListedName(const Request& request, std::string_view name) {
  const std::string* encoding = request.Query("encoding-type");
  return encoding && *encoding == "url" ? ListingEncode(name)
                                        : std::string(name);
}

Reply<Response> S3Operations::Execute(const Call& call) const {
  switch (call.operation.kind) {
    case OperationKind::kListBuckets: return ListBuckets();
    case OperationKind::kHeadBucket: return HeadBucket(call);
    case OperationKind::kCreateBucket: return CreateBucket(call);
    case OperationKind::kDeleteBucket: return DeleteBucket(call);
    case OperationKind::kGetBucketLocation: return GetBucketLocation(call);
    case OperationKind::kListObjects:
    case OperationKind::kListObjectsV2: return ListObjects(call);
    case OperationKind::kDeleteObjects: return DeleteObjects(call);
    case OperationKind::kHeadObject:
    case OperationKind::kGetObject: return GetObject(call);
    case OperationKind::kPutObject: return PutObject(call);
    case OperationKind::kCopyObject: return CopyObject(call);
    case OperationKind::kDeleteObject: return DeleteObject(call);
    case OperationKind::kGetObjectTagging: return GetObjectTagging(call);
    case OperationKind::kPutObjectTagging: return PutObjectTagging(call);
    case OperationKind::kDeleteObjectTagging: return DeleteObjectTagging(call);
    case OperationKind::kCreateMultipartUpload:
      return CreateMultipartUpload(call);
    case OperationKind::kUploadPart: return UploadPart(call);
    case OperationKind::kUploadPartCopy: return UploadPartCopy(call);
    case OperationKind::kCompleteMultipartUpload:
      return CompleteMultipartUpload(call);
    case OperationKind::kAbortMultipartUpload:
      return AbortMultipartUpload(call);
    case OperationKind::kListParts: return ListParts(call);
    case OperationKind::kListMultipartUploads:
      return ListMultipartUploads(call);
    case OperationKind::kUnknown: break;
  }
  return Refuse(405, "MethodNotAllowed", "No such operation.");
}

}  // namespace ckptfs::s3server
