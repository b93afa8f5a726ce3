// HeadObject, GetObject, PutObject: requests built, replies read.
#pragma once

#include <ckptfs/object_store.h>

#include <string>

#include "http/http_transport.h"
#include "s3/s3_request.h"

namespace ckptfs {

// kInvalidArgument or kNameTooLong for what no store takes as a key.
Result<void> CheckKey(const std::string& key);

// Adds content type, system headers, tags and metadata. kInvalidArgument for
// what cannot travel in a header.
Result<void> AddAttributes(const ObjectAttributes& attributes,
                           HttpHeaders& headers);
void AddCondition(const WriteCondition& condition, S3Request& request);

// ETag as the project carries it: with its quotes, also from stores that leave
// them out, so that listings and heads give equal values.
ETag ParseETag(std::string_view text);
ObjectInfo ParseObjectHeaders(const std::string& key,
                              const HttpHeaders& headers);

S3Request BuildHead(const std::string& key, const ETag& if_match,
                    const std::string& version_id);
S3Request BuildGet(const std::string& key, const std::string& version_id,
                   std::shared_ptr<RangeDownload> download);
Result<S3Request> BuildPut(PutRequest& request);  // takes the payload
PutResult ParsePut(const HttpResponse& response);

}  // namespace ckptfs
