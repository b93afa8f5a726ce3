// Which S3 operation a request is. Pure functions.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "s3server/http_message.h"
#include "s3server/s3_error.h"

namespace ckptfs::s3server {

enum class OperationKind {
  kUnknown,
  kListBuckets,
  kHeadBucket,
  kCreateBucket,
  kDeleteBucket,
  kGetBucketLocation,
  kListObjects,
  kListObjectsV2,
  kDeleteObjects,
  kHeadObject,
  kGetObject,
  kPutObject,
  kCopyObject,
  kDeleteObject,
  kGetObjectTagging,
  kPutObjectTagging,
  kDeleteObjectTagging,
  kCreateMultipartUpload,
  kUploadPart,
  kUploadPartCopy,
  kCompleteMultipartUpload,
  kAbortMultipartUpload,
  kListParts,
  kListMultipartUploads,
};
inline constexpr int kOperationKinds =
    static_cast<int>(OperationKind::kListMultipartUploads) + 1;

// As the S3 API names it, e.g. "UploadPart".
std::string_view NameOf(OperationKind kind);

// Headers that say how a new object is kept: x-amz-storage-class and
// x-amz-server-side-encryption with its settings, but for the customer's keys.
// They are told again of the object, and change nothing else.
bool IsStoredOption(std::string_view header);

struct Operation {
  OperationKind kind = OperationKind::kUnknown;
  std::string bucket;
  std::string key;
  int part = 0;  // of UploadPart and UploadPartCopy
  std::string upload_id;
};

// `has_bucket` tells whether a bucket exists: a Host of the form
// "bucket.something" addresses the bucket only if it does.
Reply<Operation> Identify(
    const Request& request,
    const std::function<bool(const std::string&)>& has_bucket);

}  // namespace ckptfs::s3server
