// When and how a failed request is repeated: one table, a token bucket shared
// by all requests to an endpoint, and a backoff with full jitter. No sleeping
// and no threads here; time comes in as an argument.
//
// What ends the repetition is the time without progress, not a count: a store
// that restarts turns down ten attempts within seconds, and is back soon after.
// Progress is an attempt that got further than every one before it: a download
// by any byte (it goes on from there), an upload by 64 KiB (it starts again at
// its first byte, so that breaking at the same place for ever is no progress).
// On a slow line one attempt may take longer than the time allowed: attempts
// that move bytes, but get no further, have max_repeats at least.
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

// The table. `maybe_executed`: this or an earlier attempt may have been carried
// out.
RetryAction Decide(ErrorClass error_class, Idempotency idempotency,
                   bool maybe_executed);

// Time without progress after which a request is given up.
inline constexpr std::chrono::seconds kPatience{120};
// The same where S3 publishes or copies something large before it answers. AWS
// documents minutes for CompleteMultipartUpload; copies move gigabytes.
inline constexpr std::chrono::seconds kSlowPatience{15 * 60};

struct RetryPolicy {
  // Attempts without progress, the first included; 0: any number.
  int max_attempts = 0;
  // Damage that repeats is local: bad memory, not a bad network.
  int max_attempts_corrupted = 3;
  // Attempts that move bytes and get no further, however long they take.
  int max_repeats = 5;
  std::chrono::milliseconds base{50};
  std::chrono::milliseconds throttled_base{1000};
  // A store that is back must not be waited for: of 64 parts whose bucket of
  // tokens is empty, half begin again within 2.5 s, the last after 5. Only a
  // store that asks for fewer requests is left alone for longer.
  std::chrono::milliseconds cap{5000};
  std::chrono::milliseconds throttled_cap{20000};
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
  // Bytes of an upload's body that count as progress: less than that lies in
  // buffers on the way.
  static constexpr std::uint64_t kNoticeableBytes = 64 << 10;

  RetryState(const RetryPolicy& policy, RetryTokens& tokens, Jitter& jitter,
             Duration patience, SteadyTime start)
      : policy_(policy),
        tokens_(tokens),
        jitter_(jitter),
        patience_(patience),
        start_(start),
        last_progress_(start),
        last_moved_(start) {}

  // An attempt has waited that long for a connection of its own; nothing could
  // progress meanwhile.
  void Waited(Duration time);
  // An attempt that ended at `now` has moved bytes that need not be moved
  // again.
  void Progressed(SteadyTime now);
  // An attempt that ended at `now` has sent that many bytes of its body.
  void Sent(std::uint64_t bytes, SteadyTime now);
  // How long to wait before the next attempt; nullopt: no further attempt.
  std::optional<Duration> NextDelay(const S3Failure& failure, SteadyTime now);
  void Succeeded() { tokens_.Refund(taken_); }
  int failures() const { return failures_; }
  SteadyTime start() const { return start_; }

 private:
  const RetryPolicy& policy_;
  RetryTokens& tokens_;
  Jitter& jitter_;
  const Duration patience_;
  const SteadyTime start_;
  SteadyTime last_progress_;
  SteadyTime last_moved_;  // not before last_progress_
  std::uint64_t furthest_ = 0;
  int failures_ = 0;  // of all attempts
  // Since the last progress.
  int attempts_ = 0;  // failed ones
  int corrupted_ = 0;
  int repeats_ = 0;  // attempts that moved bytes
  int taken_ = 0;    // tokens
};

}  // namespace ckptfs
