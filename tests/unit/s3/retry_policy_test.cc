#include "s3/retry_policy.h"

#include <gtest/gtest.h>

namespace ckptfs {
namespace {

using std::chrono::milliseconds;

constexpr SteadyTime kNow{std::chrono::hours(1)};

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
      for (const E c :
           {E::kPayloadSigning, E::kTerminal, E::kCondition, E::kGone}) {
        EXPECT_EQ(Decide(c, i, maybe), i == Idempotency::kReconcile && maybe
                                           ? RetryAction::kReconcile
                                           : RetryAction::kFail);
      }
    }
  }
}

// The retries of one request, with the time in the test's hand.
class Retries : public ::testing::Test {
 protected:
  RetryState& Start(Duration patience = kPatience) {
    start_ = now_;
    return state_.emplace(policy_, tokens_, jitter_, patience, now_);
  }
  // Fails until there is no further attempt; how long that took.
  Duration FailForGood(ErrorClass c, Duration attempt = {}) {
    for (int i = 0; i < 100000; ++i) {
      now_ += attempt;
      const std::optional<Duration> delay = state_->NextDelay(Of(c), now_);
      if (!delay.has_value()) return now_ - start_;
      now_ += *delay;
    }
    ADD_FAILURE() << "it never ends";
    return {};
  }
  int failures() const { return state_->failures(); }

  RetryPolicy policy_;
  RetryTokens tokens_;
  Jitter jitter_{1};
  SteadyTime now_{std::chrono::hours(1)};
  SteadyTime start_;
  std::optional<RetryState> state_;
};

// [S-41]
TEST_F(Retries, TimeWithoutProgressEndsThemNotACount) {
  for (const ErrorClass c : {ErrorClass::kNotSent, ErrorClass::kHandshake,
                             ErrorClass::kLost, ErrorClass::kTransient,
                             ErrorClass::kThrottled, ErrorClass::kConflict}) {
    Start();
    EXPECT_EQ(FailForGood(c), kPatience) << static_cast<int>(c);
    EXPECT_GT(failures(), 10) << static_cast<int>(c);
    // Nothing is asked in a frenzy.
    EXPECT_LT(failures(), 100) << static_cast<int>(c);
  }
  Start(kSlowPatience);
  EXPECT_EQ(FailForGood(ErrorClass::kTransient), kSlowPatience);
}

TEST_F(Retries, DamageIsCounted) {
  Start();
  // What else went wrong before says nothing of it.
  for (int i = 0; i < 5; ++i) {
    EXPECT_TRUE(state_->NextDelay(Of(ErrorClass::kLost), now_).has_value());
  }
  for (int i = 1; i < policy_.max_attempts_corrupted; ++i) {
    EXPECT_TRUE(
        state_->NextDelay(Of(ErrorClass::kCorrupted), now_).has_value());
  }
  EXPECT_FALSE(state_->NextDelay(Of(ErrorClass::kCorrupted), now_).has_value());
}

TEST_F(Retries, ACountThatIsSetIsKept) {
  for (const int count : {1, 3}) {
    policy_.max_attempts = count;
    for (const ErrorClass c : {ErrorClass::kTransient, ErrorClass::kThrottled,
                               ErrorClass::kHandshake, ErrorClass::kNotSent}) {
      Start();
      EXPECT_LT(FailForGood(c), kPatience);
      EXPECT_EQ(failures(), count);
    }
  }
  policy_.max_attempts = 1000;
  Start();
  EXPECT_EQ(FailForGood(ErrorClass::kNotSent), kPatience);
}

TEST_F(Retries, ProgressStartsTimeAndCountAgain) {
  policy_.max_attempts = 2;
  Start();
  for (int i = 0; i < 10; ++i) {
    now_ += std::chrono::seconds(100);
    EXPECT_TRUE(state_->NextDelay(Of(ErrorClass::kLost), now_).has_value());
    state_->Progressed(now_);
  }
  EXPECT_TRUE(state_->NextDelay(Of(ErrorClass::kLost), now_).has_value());
  EXPECT_FALSE(state_->NextDelay(Of(ErrorClass::kLost), now_).has_value());
}

TEST_F(Retries, AnUploadThatGetsFurtherEachTimeGoesOn) {
  Start();
  std::uint64_t sent = 0;
  for (int i = 0; i < 50; ++i) {
    now_ += std::chrono::minutes(3);
    sent += RetryState::kNoticeableBytes;
    state_->Sent(sent, now_);
    ASSERT_TRUE(state_->NextDelay(Of(ErrorClass::kLost), now_).has_value());
  }
}

TEST_F(Retries, AnUploadThatAlwaysBreaksAtTheSamePlaceEnds) {
  // Fast: as long as any other failure.
  Start();
  int attempts = 0;
  std::optional<Duration> delay;
  do {
    ++attempts;
    state_->Sent(1 << 20, now_);
    delay = state_->NextDelay(Of(ErrorClass::kLost), now_);
    if (delay.has_value()) now_ += *delay;
  } while (delay.has_value() && attempts < 10000);
  EXPECT_GE(now_ - start_, kPatience);
  EXPECT_LE(now_ - start_, kPatience + policy_.cap);
  EXPECT_GT(attempts, 10);

  // Slow: a few attempts, however long one takes.
  Start();
  attempts = 0;
  do {
    ++attempts;
    now_ += std::chrono::minutes(10);
    state_->Sent(1 << 20, now_);
    delay = state_->NextDelay(Of(ErrorClass::kLost), now_);
  } while (delay.has_value() && attempts < 10000);
  EXPECT_EQ(attempts, 1 + policy_.max_repeats);
}

TEST_F(Retries, BytesThatOnlyFillBuffersAreNoProgress) {
  Start();
  for (int i = 0; i < 1000; ++i) {
    state_->Sent(RetryState::kNoticeableBytes - 1, now_);
    const auto delay = state_->NextDelay(Of(ErrorClass::kLost), now_);
    if (!delay.has_value()) break;
    now_ += *delay;
  }
  EXPECT_EQ(now_ - start_, kPatience);
}

TEST_F(Retries, WaitingForAConnectionIsNotTheRequestsFault) {
  Start();
  now_ += std::chrono::minutes(30);
  state_->Waited(std::chrono::minutes(30));
  EXPECT_TRUE(state_->NextDelay(Of(ErrorClass::kNotSent), now_).has_value());
  EXPECT_EQ(FailForGood(ErrorClass::kNotSent),
            kPatience + std::chrono::minutes(30));
}

TEST_F(Retries, TheLastAttemptComesAtTheEnd) {
  Start();
  now_ += std::chrono::seconds(119);
  for (int i = 0; i < 20; ++i) {
    const auto delay = state_->NextDelay(
        Of(ErrorClass::kThrottled, std::chrono::hours(1)), now_);
    ASSERT_TRUE(delay.has_value());
    EXPECT_LE(*delay, std::chrono::seconds(1));
  }
}

TEST(RetryState, BackoffDoublesUnderACapWithFullJitter) {
  const RetryPolicy policy;
  Duration longest_first{0};
  Duration longest_last{0};
  Duration shortest_last = std::chrono::hours(1);
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    RetryTokens tokens;
    Jitter jitter(seed);
    RetryState state(policy, tokens, jitter, kPatience, kNow);
    longest_first = std::max(
        longest_first, *state.NextDelay(Of(ErrorClass::kTransient), kNow));
    Duration last{0};
    for (int i = 0; i < 8; ++i) {
      last = *state.NextDelay(Of(ErrorClass::kTransient), kNow);
      EXPECT_LE(last, policy.base * (2 << i));
    }
    longest_last = std::max(longest_last, last);
    shortest_last = std::min(shortest_last, last);
  }
  EXPECT_LE(longest_first, policy.base);
  EXPECT_GT(longest_first, policy.base * 8 / 10);
  EXPECT_GT(longest_last, policy.cap * 8 / 10);
  EXPECT_LT(shortest_last, policy.cap * 2 / 10);
}

TEST(RetryState, ThrottlingBacksOffLonger) {
  const RetryPolicy policy;
  Duration longest{0};
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    RetryTokens tokens;
    Jitter jitter(seed);
    RetryState state(policy, tokens, jitter, kPatience, kNow);
    longest =
        std::max(longest, *state.NextDelay(Of(ErrorClass::kThrottled), kNow));
  }
  EXPECT_GT(longest, policy.throttled_base * 8 / 10);
  EXPECT_LE(longest, policy.throttled_base);
}

TEST(RetryState, RetryAfterIsALowerBound) {
  const RetryPolicy policy;
  RetryTokens tokens;
  Jitter jitter(1);
  RetryState state(policy, tokens, jitter, kPatience, kNow);
  EXPECT_GE(
      *state.NextDelay(Of(ErrorClass::kThrottled, milliseconds(7000)), kNow),
      milliseconds(7000));
  // A server cannot park a client for a day.
  EXPECT_LE(*state.NextDelay(Of(ErrorClass::kThrottled, std::chrono::hours(24)),
                             kNow),
            std::chrono::minutes(2));
}

// Of 64 parts that wait, some soon ask whether the store is back.
TEST(RetryState, AStoreThatIsBackIsNotWaitedForForLong) {
  const RetryPolicy policy;
  RetryTokens tokens;
  Jitter jitter(1);
  for (const ErrorClass c : {ErrorClass::kNotSent, ErrorClass::kHandshake,
                             ErrorClass::kLost, ErrorClass::kTransient}) {
    for (int part = 0; part < 64; ++part) {
      RetryState state(policy, tokens, jitter, kPatience, kNow);
      for (int i = 0; i < 20; ++i) {
        EXPECT_LE(*state.NextDelay(Of(c), kNow), std::chrono::seconds(5));
      }
    }
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
    RetryState state(policy, tokens, jitter, kPatience, kNow);
    longest =
        std::max(longest, *state.NextDelay(Of(ErrorClass::kTransient), kNow));
  }
  EXPECT_GT(longest, policy.cap * 8 / 10);
}

TEST(RetryTokens, SuccessGivesBackWhatItsRetriesTook) {
  RetryTokens tokens;
  const RetryPolicy policy;
  Jitter jitter(1);
  RetryState state(policy, tokens, jitter, kPatience, kNow);
  state.NextDelay(Of(ErrorClass::kTransient), kNow);
  state.NextDelay(Of(ErrorClass::kThrottled), kNow);
  EXPECT_EQ(tokens.available(), RetryTokens::kCapacity - 14 - 5);
  state.Succeeded();
  EXPECT_EQ(tokens.available(), RetryTokens::kCapacity);
  tokens.Refund(100);
  EXPECT_EQ(tokens.available(), RetryTokens::kCapacity);
}

}  // namespace
}  // namespace ckptfs
