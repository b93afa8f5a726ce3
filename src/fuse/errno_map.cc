#include "fuse/errno_map.h"

#include <cerrno>

namespace ckptfs::fuse {

int ToErrno(ErrorCode code) {
  switch (code) {
    case ErrorCode::kNotFound: return ENOENT;
    case ErrorCode::kAlreadyExists: return EEXIST;
    case ErrorCode::kInvalidArgument: return EINVAL;
    case ErrorCode::kPermissionDenied: return EACCES;
    case ErrorCode::kUnauthenticated: return EACCES;
    case ErrorCode::kPreconditionFailed: return ESTALE;
    case ErrorCode::kConflict: return ESTALE;
    case ErrorCode::kTooLarge: return EFBIG;
    case ErrorCode::kResourceExhausted: return ENOSPC;
    case ErrorCode::kUnavailable: return EIO;
    case ErrorCode::kDeadlineExceeded: return EIO;
    case ErrorCode::kCancelled: return EIO;
    case ErrorCode::kOutcomeUnknown:
    case ErrorCode::kDataLoss: return EIO;
    case ErrorCode::kUnsupported: return EOPNOTSUPP;
    case ErrorCode::kNotDirectory: return ENOTDIR;
    case ErrorCode::kIsDirectory: return EISDIR;
    case ErrorCode::kNotEmpty: return ENOTEMPTY;
    case ErrorCode::kNameTooLong: return ENAMETOOLONG;
    case ErrorCode::kReadOnly: return EROFS;
    case ErrorCode::kStale: return ESTALE;
    case ErrorCode::kInternal: return EIO;
  }
  return EIO;
}

bool IsEverydayAnswer(ErrorCode code) {
  switch (code) {
    case ErrorCode::kNotFound:
    case ErrorCode::kAlreadyExists:
    case ErrorCode::kNotDirectory:
    case ErrorCode::kIsDirectory:
    case ErrorCode::kNotEmpty:
    case ErrorCode::kNameTooLong:
    case ErrorCode::kReadOnly: return true;
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kPermissionDenied:
    case ErrorCode::kUnauthenticated:
    case ErrorCode::kPreconditionFailed:
    case ErrorCode::kConflict:
    case ErrorCode::kTooLarge:
    case ErrorCode::kResourceExhausted:
    case ErrorCode::kUnavailable:
    case ErrorCode::kDeadlineExceeded:
    case ErrorCode::kCancelled:
    case ErrorCode::kOutcomeUnknown:
    case ErrorCode::kDataLoss:
    case ErrorCode::kUnsupported:
    case ErrorCode::kStale:
    case ErrorCode::kInternal: return false;
  }
  return false;
}

}  // namespace ckptfs::fuse
