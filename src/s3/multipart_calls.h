// The multipart upload calls: requests built, replies read.
#pragma once

#include <ckptfs/object_store.h>

#include "http/http_transport.h"
#include "s3/s3_request.h"

namespace ckptfs {

// The parse functions read 2xx replies; their error is a reason without
// context (kDataLoss), for MalformedReply.

Result<S3Request> BuildCreateMultipart(const CreateMultipartRequest& request);
Result<MultipartUpload> ParseCreateMultipart(const std::string& key,
                                             const HttpResponse& response);

Result<S3Request> BuildUploadPart(UploadPartRequest& request);  // takes payload
Result<CompletedPart> ParseUploadPart(int part_number, std::uint64_t size,
                                      const HttpResponse& response);

Result<S3Request> BuildCompleteMultipart(
    const CompleteMultipartRequest& request);
// Without an ETag where the reply names none (radosgw).
Result<PutResult> ParseCompleteMultipart(const HttpResponse& response);

Result<S3Request> BuildAbortMultipart(const AbortMultipartRequest& request);

Result<S3Request> BuildListParts(const ListPartsRequest& request);
Result<ListPartsResult> ParseListParts(const HttpResponse& response);

// `encoded`: asks for encoded keys, as some hold bytes that XML cannot.
S3Request BuildListUploads(const ListUploadsRequest& request, bool encoded);
// `unclear`: set if keys may or may not be encoded. radosgw encodes the keys it
// is asked to encode (not the markers), but does not say so; stores that ignore
// the request do not say so either.
Result<ListUploadsResult> ParseListUploads(const HttpResponse& response,
                                           bool* unclear);

}  // namespace ckptfs
