// GetObjectTagging and the header that gives tags to a new object.
#pragma once

#include <ckptfs/object_store.h>

#include <string>

#include "http/http_transport.h"
#include "s3/s3_request.h"

namespace ckptfs {

// x-amz-tagging: "name=value&..." in query encoding.
std::string TaggingHeader(const ObjectTags& tags);

Result<S3Request> BuildGetTags(const GetTagsRequest& request);
Result<S3Request> BuildPutTags(const std::string& key, const ObjectTags& tags);
// Its error says that the reply is no list of tags: the object itself, from
// endpoints that do not know the sub-resource.
Result<ObjectTags> ParseTags(const HttpResponse& response);

}  // namespace ckptfs
