#include "s3/retry_policy.h"

#include <algorithm>

namespace ckptfs {

RetryAction Decide(ErrorClass error_class, Idempotency idempotency,
                   bool maybe_executed) {
  switch (error_class) {
    case ErrorClass::kNotSent:
    case ErrorClass::kHandshake:
    case ErrorClass::kLost:
    case ErrorClass::kTransient:
    case ErrorClass::kThrottled:
    case ErrorClass::kCorrupted:
    case ErrorClass::kConflict: return RetryAction::kRetry;
    case ErrorClass::kCondition:
    case ErrorClass::kGone:
      return idempotency == Idempotency::kReconcile && maybe_executed
                 ? RetryAction::kReconcile
                 : RetryAction::kFail;
    case ErrorClass::kPayloadSigning:  // the client switches modes itself
    case ErrorClass::kTerminal: return RetryAction::kFail;
  }
  return RetryAction::kFail;
}

bool MaybeExecuted(ErrorClass error_class) {
  // A 5xx may come from a front end that lost the back end's answer. Throttled
  // requests were turned away.
  return error_class == ErrorClass::kLost ||
         error_class == ErrorClass::kTransient;
}

int RetryTokens::Cost(ErrorClass error_class) {
  return error_class == ErrorClass::kThrottled ? 5 : 14;
}

bool RetryTokens::Take(ErrorClass error_class) {
  const int cost = Cost(error_class);
  MutexLock lock(mu_);
  if (tokens_ < cost) return false;
  tokens_ -= cost;
  return true;
}

void RetryTokens::Refund(int taken) {
  MutexLock lock(mu_);
  tokens_ = std::min(kCapacity, tokens_ + std::max(1, taken));
}

int RetryTokens::available() const {
  MutexLock lock(mu_);
  return tokens_;
}

Duration Jitter::Draw(Duration limit) {
  MutexLock lock(mu_);
  return Duration(
      std::uniform_int_distribution<Duration::rep>(0, limit.count())(engine_));
}

std::optional<Duration> RetryState::NextDelay(const S3Failure& failure) {
  ++attempts_;
  int limit = policy_.max_attempts;
  if (failure.error_class == ErrorClass::kCorrupted) {
    limit = policy_.max_attempts_corrupted;
  } else if (failure.error_class == ErrorClass::kHandshake) {
    limit = policy_.max_attempts_handshake;
  }
  if (attempts_ >= std::min(limit, policy_.max_attempts)) return std::nullopt;
  const bool paid = tokens_.Take(failure.error_class);
  if (paid) taken_ += RetryTokens::Cost(failure.error_class);

  const std::chrono::milliseconds base =
      failure.error_class == ErrorClass::kThrottled ? policy_.throttled_base
                                                    : policy_.base;
  Duration ceiling = policy_.cap;
  if (paid) {
    const int doublings = std::min(attempts_ - 1, 20);
    ceiling = std::min<Duration>(policy_.cap, base * (1LL << doublings));
  }
  Duration delay = jitter_.Draw(ceiling);
  if (failure.retry_after.has_value()) {
    delay = std::max<Duration>(
        delay,
        std::min<Duration>(*failure.retry_after, std::chrono::minutes(2)));
  }
  return delay;
}

}  // namespace ckptfs
