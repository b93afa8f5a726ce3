// RequestHeaders: what the options add to the headers of every request.
#pragma once

#include <ckptfs/object_store.h>
#include <ckptfs/result.h>

#include "http/http_transport.h"

namespace ckptfs {

struct RequestHeaders {
  HttpHeaders always;
  // Of PutObject, CreateMultipartUpload and CopyObject only: S3 turns down
  // encryption headers on parts and reads.
  HttpHeaders creating;
};

// kInvalidArgument: an option that cannot be, by its name.
Result<RequestHeaders> RequestHeadersOf(const S3StoreOptions& options);

}  // namespace ckptfs
