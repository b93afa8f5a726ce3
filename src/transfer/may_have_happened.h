// Which errors of a write leave open whether it was carried out.
#pragma once

#include <ckptfs/error.h>

namespace ckptfs {

// After these a request may have had its effect all the same.
inline bool MayHaveHappened(const Error& error) {
  switch (error.code()) {
    case ErrorCode::kUnavailable:
    case ErrorCode::kDeadlineExceeded:
    case ErrorCode::kOutcomeUnknown:
    case ErrorCode::kCancelled:
    case ErrorCode::kDataLoss:
    case ErrorCode::kInternal: return true;
    default: return false;
  }
}

}  // namespace ckptfs
