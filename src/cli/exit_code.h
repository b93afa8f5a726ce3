// The exit codes of the program, and which of them an error of S3 gets.
#pragma once

#include <ckptfs/error.h>

namespace ckptfs::cli {

// Part of the interface: scripts branch on them, the manual and the README
// list them.
enum class ExitCode {
  kSuccess = 0,
  kOther = 1,
  kUsage = 2,        // option or argument
  kCredentials = 3,  // credentials, clock or permission
  kBucket = 4,       // no such bucket, or in another region
  kEndpoint = 5,     // endpoint unreachable, or its certificate not trusted
  kMountPoint = 6,   // mount point or FUSE
  kLostFiles = 7,    // files were given up unpublished at the end
  kUnsafe = 8,       // inspect: the pickle names what weights_only refuses
  kDamaged = 9,      // inspect, verify: damaged, or no checkpoint file
};

// For an error of the first request to a bucket.
ExitCode ExitCodeForStoreError(const Error& error);

// For an error of reading a checkpoint file.
ExitCode ExitCodeForFileError(const Error& error);

}  // namespace ckptfs::cli
