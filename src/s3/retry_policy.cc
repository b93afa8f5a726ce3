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
    case ErrorClass::kPayloadSigning:  // the client switches modes itself
    case ErrorClass::kTerminal: break;
  }
  // Credentials may expire between an attempt whose reply got lost and the
  // next: whatever the last reply says, it says it of the last attempt alone.
  return idempotency == Idempotency::kReconcile && maybe_executed
             ? RetryAction::kReconcile
             : RetryAction::kFail;
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

void RetryState::Waited(Duration time) {
  last_progress_ += time;
  last_moved_ += time;
}

void RetryState::Progressed(SteadyTime now) {
  last_progress_ = last_moved_ = now;
  attempts_ = corrupted_ = repeats_ = 0;
}

void RetryState::Sent(std::uint64_t bytes, SteadyTime now) {
  if (bytes < kNoticeableBytes) return;
  if (bytes >= furthest_ + kNoticeableBytes) {
    furthest_ = bytes;
    Progressed(now);
  } else {
    last_moved_ = now;
    ++repeats_;
  }
}

std::optional<Duration> RetryState::NextDelay(const S3Failure& failure,
                                              SteadyTime now) {
  ++failures_;
  ++attempts_;
  if (policy_.max_attempts > 0 && attempts_ >= policy_.max_attempts) {
    return std::nullopt;
  }
  if (failure.error_class == ErrorClass::kCorrupted &&
      ++corrupted_ >= policy_.max_attempts_corrupted) {
    return std::nullopt;
  }
  if (now - last_progress_ >= patience_ &&
      (now - last_moved_ >= patience_ || repeats_ >= policy_.max_repeats)) {
    return std::nullopt;
  }
  const bool paid = tokens_.Take(failure.error_class);
  if (paid) taken_ += RetryTokens::Cost(failure.error_class);

  const bool throttled = failure.error_class == ErrorClass::kThrottled;
  const std::chrono::milliseconds base =
      throttled ? policy_.throttled_base : policy_.base;
  Duration ceiling = throttled ? policy_.throttled_cap : policy_.cap;
  if (paid) {
    const int doublings = std::min(attempts_ - 1, 20);
    ceiling = std::min<Duration>(ceiling, base * (1LL << doublings));
  }
  Duration delay = jitter_.Draw(ceiling);
  if (failure.retry_after.has_value()) {
    delay = std::max<Duration>(
        delay, std::min<Duration>(*failure.retry_after, kPatience));
  }
  // The last attempt comes when the time is over, not one backoff before.
  const Duration left = last_moved_ + patience_ - now;
  if (left > Duration::zero()) delay = std::min(delay, left);
  return delay;
}

}  // namespace ckptfs
