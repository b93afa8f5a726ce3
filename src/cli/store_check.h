// The one request that is made before a mount appears.
#pragma once

#include <ckptfs/object_store.h>

#include <chrono>
#include <string>

namespace ckptfs::cli {

// How long an endpoint that does not answer is tried.
inline constexpr std::chrono::seconds kStoreCheckDeadline{10};

// Lists one key below the prefix: proves endpoint, bucket, region, credentials
// and the List permission, without which S3 answers 403 for absent keys and a
// file system cannot tell "not there" from "not allowed". Blocks.
Result<void> CheckStore(ObjectStore& store, const std::string& prefix);

}  // namespace ckptfs::cli
