// CopyObject and UploadPartCopy: requests built, replies read.
#pragma once

#include <ckptfs/object_store.h>

#include "http/http_transport.h"
#include "s3/s3_request.h"

namespace ckptfs {

Result<S3Request> BuildCopy(const CopyRequest& request,
                            const std::string& bucket);
// Without an ETag where the reply names none.
Result<PutResult> ParseCopy(const HttpResponse& response);

// `encode_twice`: for servers that decode the name of the source twice.
Result<S3Request> BuildUploadPartCopy(const UploadPartCopyRequest& request,
                                      const std::string& bucket,
                                      bool encode_twice);
Result<CompletedPart> ParseUploadPartCopy(const UploadPartCopyRequest& request,
                                          const HttpResponse& response);

}  // namespace ckptfs
