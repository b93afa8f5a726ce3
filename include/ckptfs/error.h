// The error type of the whole project: a closed set of codes, plus the facts a
// person needs to act (what failed, on which object, the S3 request id).
// Branch on code(), never on message().
#pragma once

#include <ckptfs/export.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace ckptfs {

enum class ErrorCode {
  kNotFound,
  kAlreadyExists,
  kInvalidArgument,
  kPermissionDenied,    // authenticated, but not allowed
  kUnauthenticated,     // credentials missing, wrong or expired
  kPreconditionFailed,  // a condition the caller set did not hold
  kConflict,            // a concurrent operation won
  kTooLarge,
  kResourceExhausted,  // out of memory budget, disk or quota
  kUnavailable,        // service or connection trouble that may pass
  kDeadlineExceeded,
  // A write whose reply was lost, with nobody there to ask what became of it:
  // the object may be the new or the old one, never a part.
  kOutcomeUnknown,
  kCancelled,
  kDataLoss,     // bytes arrived damaged or short
  kUnsupported,  // not served here; nothing was changed
  kNotDirectory,
  kIsDirectory,
  kNotEmpty,
  kNameTooLong,
  kReadOnly,
  kStale,     // the object was replaced under a pinned reader or writer
  kInternal,  // what no other code says, e.g. an I/O error of a disk
};

// The code's stable name, e.g. "NotFound".
CKPTFS_EXPORT std::string_view ErrorCodeName(ErrorCode code);

// Value type, cheap to copy (one int and one shared pointer to immutable
// detail). Thread-safe as any value.
class CKPTFS_EXPORT Error {
 public:
  struct Detail {
    std::string message;     // what failed, where, what to do
    int http_status = 0;     // 0 where no HTTP response was involved
    std::string s3_code;     // e.g. "NoSuchKey"
    std::string request_id;  // x-amz-request-id
    std::string key;         // the object concerned, if any
  };

  Error(ErrorCode code, std::string message);
  Error(ErrorCode code, Detail detail);

  ErrorCode code() const { return code_; }
  const std::string& message() const { return detail_->message; }
  int http_status() const { return detail_->http_status; }
  const std::string& s3_code() const { return detail_->s3_code; }
  const std::string& request_id() const { return detail_->request_id; }
  const std::string& key() const { return detail_->key; }

  // The same error with `context` put before the message, as in
  // "publish model.pt: part 3 of ...".
  Error WithContext(std::string_view context) const;

  // One line for logs and terminals: message, then code, S3 code, status and
  // request id as far as they are known. Holds no credentials.
  std::string ToString() const;

 private:
  ErrorCode code_;
  std::shared_ptr<const Detail> detail_;
};

}  // namespace ckptfs
