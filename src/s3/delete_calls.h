// DeleteObject and DeleteObjects: requests built, replies read.
#pragma once

#include <ckptfs/object_store.h>

#include <span>
#include <string>
#include <vector>

#include "http/http_transport.h"
#include "s3/s3_request.h"

namespace ckptfs {

inline constexpr std::size_t kMaxDeleteBatch = 1000;

Result<S3Request> BuildDelete(const std::string& key, const ETag& if_match);

// REQUIRES: at most kMaxDeleteBatch keys, each one that XML can carry.
S3Request BuildDeleteMany(std::span<const std::string> keys);

struct DeleteFailure {
  std::string key;
  std::string s3_code;
  std::string message;
};
// The keys that were not deleted. kDataLoss for what is no usable reply.
Result<std::vector<DeleteFailure>> ParseDeleteMany(
    const HttpResponse& response);

}  // namespace ckptfs
