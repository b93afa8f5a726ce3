#include "cli/exit_code.h"

namespace ckptfs::cli {

ExitCode ExitCodeForStoreError(const Error& error) {
  switch (error.code()) {
    case ErrorCode::kUnauthenticated:
    case ErrorCode::kPermissionDenied: return ExitCode::kCredentials;
    case ErrorCode::kNotFound: return ExitCode::kBucket;
    case ErrorCode::kInvalidArgument:
      // Answered by a server: a wrong region or a malformed bucket name.
      // Found before a request: an option.
      return error.http_status() != 0 ? ExitCode::kBucket : ExitCode::kUsage;
    case ErrorCode::kUnavailable:
    case ErrorCode::kDeadlineExceeded:
    case ErrorCode::kResourceExhausted:
    case ErrorCode::kOutcomeUnknown:
    case ErrorCode::kDataLoss: return ExitCode::kEndpoint;
    case ErrorCode::kAlreadyExists:
    case ErrorCode::kPreconditionFailed:
    case ErrorCode::kConflict:
    case ErrorCode::kTooLarge:
    case ErrorCode::kCancelled:
    case ErrorCode::kUnsupported:
    case ErrorCode::kNotDirectory:
    case ErrorCode::kIsDirectory:
    case ErrorCode::kNotEmpty:
    case ErrorCode::kNameTooLong:
    case ErrorCode::kReadOnly:
    case ErrorCode::kStale:
    case ErrorCode::kInternal: return ExitCode::kOther;
  }
  return ExitCode::kOther;
}

ExitCode ExitCodeForFileError(const Error& error) {
  if (error.http_status() == 0) {
    switch (error.code()) {
      case ErrorCode::kInvalidArgument:
      case ErrorCode::kUnsupported:
      case ErrorCode::kTooLarge: return ExitCode::kDamaged;
      // Of this machine, not of a server.
      case ErrorCode::kNotFound:
      case ErrorCode::kResourceExhausted: return ExitCode::kOther;
      default: return ExitCodeForStoreError(error);
    }
  }
  // The bucket is there.
  if (error.s3_code() == "NoSuchKey") return ExitCode::kOther;
  return ExitCodeForStoreError(error);
}

}  // namespace ckptfs::cli
