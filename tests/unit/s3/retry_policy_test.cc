#include "s3/retry_policy.h"

#include <gtest/gtest.h>

namespace ckptfs {
namespace {

using std::chrono::milliseconds;

S3Failure Of(ErrorClass c, std::optional<milliseconds> retry_after = {}) {
  return {c, Error(ErrorCode::kUnavailable, "x"), retry_after};
}

TEST(RetryTable, EveryCell) {
  using E = ErrorClass;
  for (const Idempotency i : {Idempotency::kReplay, Idempotency::kReconcile}) {
    for (const bool maybe : {false, true}) {
      for (const E c : {E::kNotSent, E::kHandshake, E::kLost, E::kTransient,
                        E::kThrottled, E::kCorrupted, E::kConflict}) {
        EXPECT_EQ(Decide(c, i, maybe), RetryAction::kRetry);
      }
      for (const E c : {E::kPayloadSigning, E::kTerminal}) {
        EXPECT_EQ(Decide(c, i, maybe), RetryAction::kFail);
      }
      for (const E c : {E::kCondition, E::kGone}) {
        EXPECT_EQ(Decide(c, i, maybe), i == Idempotency::kReconcile && maybe
                                           ? RetryAction::kReconcile
                                           : RetryAction::kFail);
      }
    }
  }
}

TEST(RetryTable, OnlyALostOutcomeMayHaveBeenExecuted) {
  EXPECT_TRUE(MaybeExecuted(ErrorClass::kLost));
  EXPECT_TRUE(MaybeExecuted(ErrorClass::kTransient));
  EXPECT_FALSE(MaybeExecuted(ErrorClass::kNotSent));
  EXPECT_FALSE(MaybeExecuted(ErrorClass::kThrottled));
  EXPECT_FALSE(MaybeExecuted(ErrorClass::kCondition));
}

TEST(RetryState, AttemptsAreBounded) {
  const RetryPolicy policy;
  for (const auto& [c, attempts] :
       {std::pair(ErrorClass::kTransient, policy.max_attempts),
        std::pair(ErrorClass::kCorrupted, policy.max_attempts_corrupted),
        std::pair(ErrorClass::kHandshake, policy.max_attempts_handshake)}) {
    RetryTokens tokens;
    Jitter jitter(1);
    RetryState state(policy, tokens, jitter);
    for (int i = 1; i < attempts; ++i) {
      EXPECT_TRUE(state.NextDelay(Of(c)).has_value()) << i;
    }
    EXPECT_FALSE(state.NextDelay(Of(c)).has_value());
  }
}

TEST(RetryState, ProgressStartsTheCountAgain) {
  RetryPolicy policy;
  policy.max_attempts = 2;
  RetryTokens tokens;
  Jitter jitter(1);
  RetryState state(policy, tokens, jitter);
  for (int i = 0; i < 10; ++i) {
    EXPECT_TRUE(state.NextDelay(Of(ErrorClass::kLost)).has_value());
    state.Progressed();
  }
  EXPECT_TRUE(state.NextDelay(Of(ErrorClass::kLost)).has_value());
  EXPECT_FALSE(state.NextDelay(Of(ErrorClass::kLost)).has_value());
}

TEST(RetryState, BackoffDoublesUnderACapWithFullJitter) {
  const RetryPolicy policy;
  Duration longest_first{0};
  Duration longest_last{0};
  Duration shortest_last = std::chrono::hours(1);
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    RetryTokens tokens;
    Jitter jitter(seed);
    RetryState state(policy, tokens, jitter);
    longest_first =
        std::max(longest_first, *state.NextDelay(Of(ErrorClass::kTransient)));
    Duration last{0};
    for (int i = 0; i < 8; ++i) {
      last = *state.NextDelay(Of(ErrorClass::kTransient));
      EXPECT_LE(last, policy.base * (2 << i));
    }
    longest_last = std::max(longest_last, last);
    shortest_last = std::min(shortest_last, last);
  }
  EXPECT_LE(longest_first, policy.base);
  EXPECT_GT(longest_first, policy.base * 8 / 10);
  EXPECT_GT(longest_last, policy.base * 256 * 8 / 10);
  EXPECT_LT(shortest_last, policy.base * 256 * 2 / 10);
}

TEST(RetryState, ThrottlingBacksOffLonger) {
  const RetryPolicy policy;
  Duration longest{0};
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    RetryTokens tokens;
    Jitter jitter(seed);
    RetryState state(policy, tokens, jitter);
    longest = std::max(longest, *state.NextDelay(Of(ErrorClass::kThrottled)));
  }
  EXPECT_GT(longest, policy.throttled_base * 8 / 10);
  EXPECT_LE(longest, policy.throttled_base);
}

TEST(RetryState, RetryAfterIsALowerBound) {
  const RetryPolicy policy;
  RetryTokens tokens;
  Jitter jitter(1);
  RetryState state(policy, tokens, jitter);
  EXPECT_GE(*state.NextDelay(Of(ErrorClass::kThrottled, milliseconds(7000))),
            milliseconds(7000));
  // A server cannot park a client for a day.
  EXPECT_LE(
      *state.NextDelay(Of(ErrorClass::kThrottled, std::chrono::hours(24))),
      std::chrono::minutes(2));
}

TEST(RetryState, OneAttemptMeansNoRetryOfAnyKind) {
  RetryPolicy policy;
  policy.max_attempts = 1;
  RetryTokens tokens;
  Jitter jitter(1);
  for (const ErrorClass error_class :
       {ErrorClass::kTransient, ErrorClass::kThrottled, ErrorClass::kCorrupted,
        ErrorClass::kHandshake}) {
    RetryState state(policy, tokens, jitter);
    EXPECT_FALSE(state.NextDelay(Of(error_class)).has_value());
  }
}

TEST(RetryTokens, AnEmptyBucketSlowsRetriesDown) {
  const RetryPolicy policy;
  RetryTokens tokens;
  while (tokens.Take(ErrorClass::kTransient)) {
  }
  EXPECT_LT(tokens.available(), RetryTokens::Cost(ErrorClass::kTransient));
  Duration longest{0};
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    Jitter jitter(seed);
    RetryState state(policy, tokens, jitter);
    longest = std::max(longest, *state.NextDelay(Of(ErrorClass::kTransient)));
  }
  EXPECT_GT(longest, policy.cap * 8 / 10);
}

TEST(RetryTokens, SuccessGivesBackWhatItsRetriesTook) {
  RetryTokens tokens;
  const RetryPolicy policy;
  Jitter jitter(1);
  RetryState state(policy, tokens, jitter);
  state.NextDelay(Of(ErrorClass::kTransient));
  state.NextDelay(Of(ErrorClass::kThrottled));
  EXPECT_EQ(tokens.available(), RetryTokens::kCapacity - 14 - 5);
  state.Succeeded();
  EXPECT_EQ(tokens.available(), RetryTokens::kCapacity);
  tokens.Refund(100);
  EXPECT_EQ(tokens.available(), RetryTokens::kCapacity);
}

}  // namespace
}  // namespace ckptfs
