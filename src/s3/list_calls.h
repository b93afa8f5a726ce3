// ListObjectsV2: requests built, replies read.
#pragma once

#include <ckptfs/object_store.h>

#include "http/http_transport.h"
#include "s3/s3_request.h"

namespace ckptfs {

S3Request BuildList(const ListRequest& request);

// `continuation_token` is that of the request: a page that hands it out again
// would make the caller loop. kDataLoss for what is no usable page.
Result<ListResult> ParseList(const HttpResponse& response,
                             const std::string& continuation_token);

}  // namespace ckptfs
