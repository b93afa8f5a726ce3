#include <ckptfs/error.h>

#include <utility>

namespace ckptfs {

std::string_view ErrorCodeName(ErrorCode code) {
  switch (code) {
    case ErrorCode::kNotFound: return "NotFound";
    case ErrorCode::kAlreadyExists: return "AlreadyExists";
    case ErrorCode::kInvalidArgument: return "InvalidArgument";
    case ErrorCode::kPermissionDenied: return "PermissionDenied";
    case ErrorCode::kUnauthenticated: return "Unauthenticated";
    case ErrorCode::kPreconditionFailed: return "PreconditionFailed";
    case ErrorCode::kConflict: return "Conflict";
    case ErrorCode::kTooLarge: return "TooLarge";
    case ErrorCode::kResourceExhausted: return "ResourceExhausted";
    case ErrorCode::kUnavailable: return "Unavailable";
    case ErrorCode::kDeadlineExceeded: return "DeadlineExceeded";
    case ErrorCode::kCancelled: return "Cancelled";
    case ErrorCode::kOutcomeUnknown: return "OutcomeUnknown";
    case ErrorCode::kDataLoss: return "DataLoss";
    case ErrorCode::kUnsupported: return "Unsupported";
    case ErrorCode::kNotDirectory: return "NotDirectory";
    case ErrorCode::kIsDirectory: return "IsDirectory";
    case ErrorCode::kNotEmpty: return "NotEmpty";
    case ErrorCode::kNameTooLong: return "NameTooLong";
    case ErrorCode::kReadOnly: return "ReadOnly";
    case ErrorCode::kStale: return "Stale";
    case ErrorCode::kInternal: return "Internal";
  }
  return "Unknown";
}

Error::Error(ErrorCode code, std::string message)
    : code_(code),
      detail_(std::make_shared<const Detail>(
          Detail{std::move(message), 0, {}, {}, {}})) {}

Error::Error(ErrorCode code, Detail detail)
    : code_(code), detail_(std::make_shared<const Detail>(std::move(detail))) {}

Error Error::WithContext(std::string_view context) const {
  Detail detail = *detail_;
  detail.message = std::string(context) + ": " + detail.message;
  return Error(code_, std::move(detail));
}

std::string Error::ToString() const {
  std::string out = detail_->message;
  out += " [";
  out += ErrorCodeName(code_);
  if (!detail_->s3_code.empty()) out += ", " + detail_->s3_code;
  if (detail_->http_status != 0) {
    out += ", HTTP " + std::to_string(detail_->http_status);
  }
  if (!detail_->request_id.empty()) {
    out += ", request id " + detail_->request_id;
  }
  out += "]";
  return out;
}

}  // namespace ckptfs
