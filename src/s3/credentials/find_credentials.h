// FindCredentials: the order in which the sources of credentials are asked, as
// S3StoreOptions documents it.
#pragma once

#include <ckptfs/object_store.h>
#include <ckptfs/result.h>

#include <memory>
#include <string>

#include "s3/credentials/credentials_provider.h"

namespace ckptfs {

struct FoundCredentials {
  std::unique_ptr<CredentialsProvider> provider;
  std::string region;  // of the profile, if one was read; may be empty
};

// Blocks on the disk where a profile is read. kInvalidArgument: options that
// exclude each other, a malformed file. kUnauthenticated: none found, and where
// they were looked for. kUnsupported: a profile with keys from elsewhere.
Result<FoundCredentials> FindCredentials(const S3StoreOptions& options);

}  // namespace ckptfs
