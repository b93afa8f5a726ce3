// The errno table: what a program sees for each ErrorCode. The one place where
// codes become errno values.
//
//   kNotFound            ENOENT
//   kAlreadyExists       EEXIST
//   kInvalidArgument     EINVAL
//   kPermissionDenied    EACCES
//   kUnauthenticated     EACCES
//   kPreconditionFailed  ESTALE      the object is not the one that was opened
//   kConflict            ESTALE      another writer won
//   kTooLarge            EFBIG
//   kResourceExhausted   ENOSPC      local memory or spill space; throttling by
//                                    the server arrives as kUnavailable
//   kUnavailable         EIO         EAGAIN would make programs spin
//   kDeadlineExceeded    EIO         programs do not expect ETIMEDOUT of a file
//   kCancelled           EIO
//   kOutcomeUnknown      EIO
//   kDataLoss            EIO
//   kUnsupported         EOPNOTSUPP
//   kNotDirectory        ENOTDIR
//   kIsDirectory         EISDIR
//   kNotEmpty            ENOTEMPTY
//   kNameTooLong         ENAMETOOLONG
//   kReadOnly            EROFS
//   kStale               ESTALE
//   kInternal            EIO
#pragma once

#include <ckptfs/error.h>

namespace ckptfs::fuse {

int ToErrno(ErrorCode code);

// Whether programs get this answer in the ordinary course of things (a name
// that is not there, one that is already). All other failures are logged.
bool IsEverydayAnswer(ErrorCode code);

}  // namespace ckptfs::fuse
