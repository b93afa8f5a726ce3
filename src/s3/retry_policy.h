// When and how a failed request is repeated: one table, a token bucket shared
// by all requests to an endpoint, and a backoff with full jitter. No sleeping
// and no threads here; time comes in as an argument.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <random>

#include "common/clock.h"
#include "common/mutex.h"
#include "s3/s3_error.h"
#include "s3/s3_request.h"

namespace ckptfs {

enum class RetryAction {
  kRetry,
  kReconcile,  // it may be our own earlier success: look at the object
  kFail,
};

// The table. `maybe_executed`: an earlier attempt may have been carried out.
RetryAction Decide(ErrorClass error_class, Idempotency idempotency,
                   bool maybe_executed);

// True if after such a failure the server may have carried the request out.
bool MaybeExecuted(ErrorClass error_class);

struct RetryPolicy {
  int max_attempts = 10;
  // Damage that repeats is local: bad memory, not a bad network.
  int max_attempts_corrupted = 3;
  int max_attempts_handshake = 3;
  std::chrono::milliseconds base{50};
  std::chrono::milliseconds throttled_base{1000};
  std::chrono::milliseconds cap{20000};
};

// Tokens per endpoint, costs as in the AWS SDKs of 2026 (14 for a transient
// failure, 5 for throttling). They differ in what an empty bucket means: the
// SDKs fail the request, which would lose a checkpoint to a restart of the
// server while 64 parts are in flight; here the retry waits the longest
// backoff instead. Thread-safe.
class RetryTokens {
 public:
  static constexpr int kCapacity = 500;

  // False if there are not enough.
  bool Take(ErrorClass error_class);
  // After a success: gives back what its retries took, and at least one.
  void Refund(int taken);
  static int Cost(ErrorClass error_class);
  int available() const;

 private:
  mutable Mutex mu_;
  int tokens_ CKPTFS_GUARDED_BY(mu_) = kCapacity;
};

// Seeded jitter. Thread-safe.
class Jitter {
 public:
  explicit Jitter(std::uint64_t seed) : engine_(seed) {}
  // Uniform in [0, limit].
  Duration Draw(Duration limit);

 private:
  Mutex mu_;
  std::mt19937_64 engine_ CKPTFS_GUARDED_BY(mu_);
};

// The retries of one operation. Used from one thread at a time.
class RetryState {
 public:
  RetryState(const RetryPolicy& policy, RetryTokens& tokens, Jitter& jitter)
      : policy_(policy), tokens_(tokens), jitter_(jitter) {}

  // How long to wait before the next attempt; nullopt: no further attempt.
  std::optional<Duration> NextDelay(const S3Failure& failure);
  // The attempt moved bytes that need not be moved again.
  void Progressed() { attempts_ = 0; }
  void Succeeded() { tokens_.Refund(taken_); }
  int attempts() const { return attempts_; }

 private:
  const RetryPolicy& policy_;
  RetryTokens& tokens_;
  Jitter& jitter_;
  int attempts_ = 0;  // failed ones
  int taken_ = 0;     // tokens
};

}  // namespace ckptfs
