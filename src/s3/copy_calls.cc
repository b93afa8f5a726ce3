#include "s3/copy_calls.h"

#include "s3/object_calls.h"
#include "s3/uri.h"
#include "s3/xml.h"

namespace ckptfs {

namespace {

void AddSource(const std::string& bucket, const std::string& key,
               const ETag& if_match, HttpHeaders& headers) {
  headers.Set("x-amz-copy-source",
              "/" + UriEncode(bucket, true) + "/" + UriEncode(key, true));
  if (!if_match.empty()) {
    headers.Set("x-amz-copy-source-if-match", if_match.value);
  }
}

}  // namespace

Result<S3Request> BuildCopy(const CopyRequest& request,
                            const std::string& bucket) {
  S3Request r;
  r.operation = "copy " + request.source_key + " to";
  r.method = "PUT";
  r.key = request.key;
  r.expected_root = "CopyObjectResult";
  r.creates_object = true;
  r.slow_answer = true;
  CKPTFS_RETURN_IF_ERROR(CheckKey(request.source_key));
  CKPTFS_RETURN_IF_ERROR(CheckKey(request.key));
  AddSource(bucket, request.source_key, request.source_if_match, r.headers);
  if (request.replace_attributes.has_value()) {
    if (!request.replace_attributes->tags.empty()) {
      return Fail(ErrorCode::kInvalidArgument,
                  "a copy takes the tags of its source");
    }
    CKPTFS_RETURN_IF_ERROR(
        AddAttributes(*request.replace_attributes, r.headers));
    r.headers.Set("x-amz-metadata-directive", "REPLACE");
  } else {
    r.headers.Set("x-amz-metadata-directive", "COPY");
  }
  AddCondition(request.condition, r);
  if (!request.nonce.empty()) r.idempotency = Idempotency::kReconcile;
  return r;
}

Result<PutResult> ParseCopy(const HttpResponse& response) {
  CKPTFS_ASSIGN_OR_RETURN(XmlElement xml, ParseXml(response.body));
  PutResult out = ParsePut(response);
  out.etag = ParseETag(xml.ChildText("ETag"));
  return out;
}

Result<S3Request> BuildUploadPartCopy(const UploadPartCopyRequest& request,
                                      const std::string& bucket,
                                      bool encode_twice) {
  S3Request r;
  r.operation = "copy into part " + std::to_string(request.part_number) + " of";
  r.method = "PUT";
  r.key = request.upload.key;
  r.expected_root = "CopyPartResult";
  r.slow_answer = true;
  CKPTFS_RETURN_IF_ERROR(CheckKey(request.source_key));
  CKPTFS_RETURN_IF_ERROR(CheckKey(request.upload.key));
  if (request.upload.upload_id.empty() || request.part_number < 1 ||
      request.part_number > 10000 || request.length == 0) {
    return Fail(ErrorCode::kInvalidArgument,
                "a part copy needs an upload id, a part number from 1 to 10000 "
                "and a length");
  }
  r.query.emplace_back("partNumber", std::to_string(request.part_number));
  r.query.emplace_back("uploadId", request.upload.upload_id);
  AddSource(
      bucket,
      encode_twice ? UriEncode(request.source_key, true) : request.source_key,
      request.source_if_match, r.headers);
  r.headers.Set("x-amz-copy-source-range",
                "bytes=" + std::to_string(request.offset) + "-" +
                    std::to_string(request.offset + request.length - 1));
  return r;
}

Result<CompletedPart> ParseUploadPartCopy(const UploadPartCopyRequest& request,
                                          const HttpResponse& response) {
  CKPTFS_ASSIGN_OR_RETURN(XmlElement xml, ParseXml(response.body));
  CompletedPart out{request.part_number, ParseETag(xml.ChildText("ETag")),
                    request.length};
  if (out.etag.empty()) return Fail(ErrorCode::kDataLoss, "no ETag");
  return out;
}

}  // namespace ckptfs
