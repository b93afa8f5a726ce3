#include "checkpoint/io/file_error.h"

#include <cerrno>
#include <system_error>

namespace ckptfs {

Error FileError(int error_number, const std::string& what) {
  ErrorCode code = ErrorCode::kInternal;
  switch (error_number) {
    case ENOENT: code = ErrorCode::kNotFound; break;
    case EEXIST: code = ErrorCode::kAlreadyExists; break;
    case ENOTDIR: code = ErrorCode::kNotDirectory; break;
    case EISDIR: code = ErrorCode::kIsDirectory; break;
    case ENAMETOOLONG: code = ErrorCode::kNameTooLong; break;
    case EROFS: code = ErrorCode::kReadOnly; break;
    case ESTALE: code = ErrorCode::kStale; break;
    case EACCES:
    case EPERM: code = ErrorCode::kPermissionDenied; break;
    case ENOSPC:
    case EDQUOT:
    case ENOMEM: code = ErrorCode::kResourceExhausted; break;
    case ELOOP:
    case EINVAL: code = ErrorCode::kInvalidArgument; break;
    // Network file systems and mounts that have gone.
    case EAGAIN:
    case EBUSY:
    case EINTR:
    case ENOTCONN:
    case ECONNABORTED:
    case EHOSTDOWN:
    case ETIMEDOUT: code = ErrorCode::kUnavailable; break;
    case EFBIG: code = ErrorCode::kTooLarge; break;
    default: break;
  }
  return Error(code,
               what + ": " + std::generic_category().message(error_number));
}

}  // namespace ckptfs
