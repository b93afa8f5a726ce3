// File attributes <-> S3 user metadata, in the form that Amazon FSx for Lustre
// and S3 File Gateway write (FSx for Lustre User Guide, "POSIX metadata support
// for data repositories"): file-permissions (octal st_mode with the type),
// file-owner, file-group (decimal ids), file-mtime, file-atime (nanoseconds
// since the epoch with the suffix "ns"; without it, milliseconds).
#pragma once

#include <sys/types.h>

#include <optional>

#include <ckptfs/object_store.h>

#include "common/clock.h"

namespace ckptfs::fs {

struct StoredAttributes {
  std::optional<mode_t> mode;  // with the type, as stored
  std::optional<uid_t> uid;
  std::optional<gid_t> gid;
  std::optional<WallTime> mtime;
  std::optional<WallTime> atime;
};

// What cannot be read is left out: a bucket's metadata is anybody's text.
StoredAttributes DecodeAttributes(const UserMetadata& metadata);

// Sets the five entries and leaves all others alone.
void EncodeAttributes(const StoredAttributes& attributes,
                      UserMetadata& metadata);

}  // namespace ckptfs::fs
