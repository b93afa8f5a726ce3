#include "s3server/operation.h"

#include <array>

namespace ckptfs::s3server {
namespace {

// Sub-resources of S3 that are not served: answering them like the plain object
// would be worse than refusing.
constexpr std::array<std::string_view, 30> kUnserved = {"accelerate",
                                                        "acl",
                                                        "analytics",
                                                        "append",
                                                        "attributes",
                                                        "cors",
                                                        "encryption",
                                                        "intelligent-tiering",
                                                        "inventory",
                                                        "legal-hold",
                                                        "lifecycle",
                                                        "logging",
                                                        "metrics",
                                                        "notification",
                                                        "object-lock",
                                                        "ownershipControls",
                                                        "policy",
                                                        "policyStatus",
                                                        "publicAccessBlock",
                                                        "renameObject",
                                                        "replication",
                                                        "requestPayment",
                                                        "restore",
                                                        "retention",
                                                        "select",
                                                        "session",
                                                        "torrent",
                                                        "versioning",
                                                        "versions",
                                                        "website"};

// The bucket of a virtual-host style Host header, or "".
std::string BucketOfHost(
    const Request& request,
    const std::function<bool(const std::string&)>& has_bucket) {
  const std::string host = request.HeaderOr("host", "");
  // A bucket's own name may hold dots: the longest that exists wins.
  for (std::size_t dot = host.rfind('.'); dot != std::string::npos && dot > 0;
       dot = host.rfind('.', dot - 1)) {
    const std::string candidate = host.substr(0, dot);
    if (has_bucket(candidate)) return candidate;
  }
  return "";
}

OperationKind KindOfBucket(const Request& request) {
  using enum OperationKind;
  if (request.Query("tagging")) return kUnknown;
  const std::string& method = request.method;
  if (method == "HEAD") return kHeadBucket;
  if (method == "PUT") return kCreateBucket;
  if (method == "DELETE") return kDeleteBucket;
  if (method == "POST" && request.Query("delete")) return kDeleteObjects;
  if (method != "GET") return kUnknown;
  if (request.Query("location")) return kGetBucketLocation;
  if (request.Query("uploads")) return kListMultipartUploads;
  const std::string* type = request.Query("list-type");
  return type && *type == "2" ? kListObjectsV2 : kListObjects;
}

OperationKind KindOfObject(const Request& request) {
  using enum OperationKind;
  const std::string& method = request.method;
  if (request.Query("tagging")) {
    if (method == "GET") return kGetObjectTagging;
    if (method == "PUT") return kPutObjectTagging;
    return method == "DELETE" ? kDeleteObjectTagging : kUnknown;
  }
  const bool upload = request.Query("uploadId") != nullptr;
  if (method == "HEAD") return kHeadObject;
  if (method == "GET") return upload ? kListParts : kGetObject;
  if (method == "DELETE") return upload ? kAbortMultipartUpload : kDeleteObject;
  if (method == "POST") {
    if (request.Query("uploads")) return kCreateMultipartUpload;
    return upload ? kCompleteMultipartUpload : kUnknown;
  }
  if (method != "PUT") return kUnknown;
  const bool copy = request.Header("x-amz-copy-source") != nullptr;
  if (upload) return copy ? kUploadPartCopy : kUploadPart;
  return copy ? kCopyObject : kPutObject;
}

}  // namespace

std::string_view NameOf(OperationKind kind) {
  constexpr std::array<std::string_view, kOperationKinds> kNames = {
      "Unknown",
      "ListBuckets",
      "HeadBucket",
      "CreateBucket",
      "DeleteBucket",
      "GetBucketLocation",
      "ListObjects",
      "ListObjectsV2",
      "DeleteObjects",
      "HeadObject",
      "GetObject",
      "PutObject",
      "CopyObject",
      "DeleteObject",
      "GetObjectTagging",
      "PutObjectTagging",
      "DeleteObjectTagging",
      "CreateMultipartUpload",
      "UploadPart",
      "UploadPartCopy",
      "CompleteMultipartUpload",
      "AbortMultipartUpload",
      "ListParts",
      "ListMultipartUploads"};
  return kNames[static_cast<std::size_t>(kind)];
}

bool IsStoredOption(std::string_view header) {
  return header == "x-amz-storage-class" ||
         header == "x-amz-server-side-encryption" ||
         header == "x-amz-server-side-encryption-aws-kms-key-id" ||
         header == "x-amz-server-side-encryption-bucket-key-enabled";
}

Reply<Operation> Identify(
    const Request& request,
    const std::function<bool(const std::string&)>& has_bucket) {
  Operation operation;
  auto path = PercentDecode(request.path);
  if (!path) return Refuse(400, "InvalidURI", "Couldn't parse the URI.");
  path->erase(0, 1);
  operation.bucket = BucketOfHost(request, has_bucket);
  if (operation.bucket.empty()) {
    const std::size_t slash = path->find('/');
    operation.bucket = path->substr(0, slash);
    if (slash != std::string::npos) operation.key = path->substr(slash + 1);
  } else {
    operation.key = *path;
  }
  if (operation.key.size() > 1024) {
    return Refuse(400, "KeyTooLongError", "Your key is too long");
  }
  for (const auto& [name, value] : request.query) {
    for (const std::string_view unserved : kUnserved) {
      if (name == unserved) {
        return Refuse(501, "NotImplemented",
                      "A parameter you provided (" + name +
                          ") implies functionality that is not implemented");
      }
    }
  }
  const std::string* version = request.Query("versionId");
  if (version && *version != "null") {
    return Refuse(400, "InvalidArgument", "Invalid version id specified");
  }
  for (const auto& [name, value] : request.headers) {
    const bool customer_key =
        name.starts_with("x-amz-server-side-encryption") &&
        !IsStoredOption(name);
    if (customer_key || name.starts_with("x-amz-object-lock") ||
        name == "x-amz-write-offset-bytes") {
      return Refuse(501, "NotImplemented",
                    "A header you provided (" + name +
                        ") implies functionality that is not implemented");
    }
  }
  if (operation.bucket.empty()) {
    operation.kind = request.method == "GET" ? OperationKind::kListBuckets
                                             : OperationKind::kUnknown;
  } else if (operation.key.empty()) {
    operation.kind = KindOfBucket(request);
  } else {
    operation.kind = KindOfObject(request);
  }
  if (operation.kind == OperationKind::kUnknown) {
    return Refuse(405, "MethodNotAllowed",
                  "The specified method is not allowed against this resource.");
  }
  if (operation.kind != OperationKind::kPutObject &&
      operation.kind != OperationKind::kCopyObject &&
      operation.kind != OperationKind::kCreateMultipartUpload) {
    for (const auto& [name, value] : request.headers) {
      if (IsStoredOption(name)) {
        return Refuse(400, "InvalidArgument",
                      name + " header is not supported for this operation.");
      }
    }
  }
  if (const std::string* id = request.Query("uploadId")) {
    operation.upload_id = *id;
  }
  if (operation.kind == OperationKind::kUploadPart ||
      operation.kind == OperationKind::kUploadPartCopy) {
    const std::string* number = request.Query("partNumber");
    const auto part = number ? ParseNumber(*number) : std::nullopt;
    if (!part || *part < 1 || *part > 10000) {
      return Refuse(400, "InvalidArgument",
                    "Part number must be an integer between 1 and 10000, "
                    "inclusive");
    }
    operation.part = static_cast<int>(*part);
  }
  return operation;
}

}  // namespace ckptfs::s3server
