// A store that is restarted, server by server, while many requests are under
// way: none of them fails, and none waits for long once it is back.
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "s3/object_calls.h"
#include "s3/s3_client.h"
#include "support/manual_executor.h"
#include "unit/s3/scripted_transport.h"

namespace ckptfs {
namespace {

using std::chrono::seconds;
using Answer = ScriptedTransport::Answer;

class StoreRestart : public ::testing::Test {
 protected:
  static constexpr int kRequests = 64;

  S3Request PutOf(int number) {
    PutRequest put;
    put.key = "part-" + std::to_string(number);
    return *BuildPut(put);
  }
  // Whatever a store behind a balancer shows while it restarts.
  Answer Trouble() {
    switch (++troubles_ % 6) {
      case 0: return {.status = 0, .failure = TransportFailure::kConnect};
      case 1: return {.status = 0, .failure = TransportFailure::kTls};
      case 2:
        return {.status = 0,
                .failure = TransportFailure::kBroken,
                .bytes_sent = 1 << 20};
      case 3: return {.status = 503, .body = "no server is available"};
      case 4: return {.status = 500, .body = "<Error/>"};
      default: return {.status = 0, .failure = TransportFailure::kResolve};
    }
  }
  static Answer Stored() {
    Answer stored;
    stored.headers.Set("ETag", "\"1\"");
    return stored;
  }
  // Starts all requests at once, and moves time until they have ended. How
  // long that took.
  Duration RunAll() {
    const SteadyTime start = clock_.Now();
    transport_.otherwise = [this, start] {
      return clock_.Now() - start < back_ ? down_() : Stored();
    };
    int ended = 0;
    for (int i = 0; i < kRequests; ++i) {
      Spawn(executor_, client_.Execute(PutOf(i), CallContext{}),
            UniqueFunction<void(S3Outcome)>([&](const S3Outcome& outcome) {
              ++ended;
              if (outcome.failure.has_value()) {
                failures_.push_back(outcome.failure->error.ToString());
              }
            }));
    }
    executor_.RunAll();
    while (ended < kRequests) {
      const auto next = clock_.UntilNextTimer();
      if (!next.has_value()) break;
      clock_.Advance(*next);
      executor_.RunAll();
    }
    EXPECT_EQ(ended, kRequests);
    return clock_.Now() - start;
  }

  Duration back_{};
  int troubles_ = 0;
  std::function<Answer()> down_ = [this] { return Trouble(); };
  std::vector<std::string> failures_;
  FakeClock clock_;
  ManualExecutor executor_;
  ScriptedTransport transport_;
  StaticCredentials credentials_{{"AKID", "SECRET", ""}};
  S3Client client_{
      transport_,
      clock_,
      executor_,
      credentials_,
      *Endpoint::Create("http://host:9", "us-east-1", "bucket", std::nullopt),
      "us-east-1",
      {}};
};

// [S-41]
TEST_F(StoreRestart, NinetySecondsFailNothing) {
  back_ = seconds(90);
  RunAll();
  EXPECT_TRUE(failures_.empty()) << failures_.front();
}

TEST_F(StoreRestart, OneWithoutEndIsReported) {
  back_ = seconds(3600);
  const Duration took = RunAll();
  EXPECT_EQ(failures_.size(), static_cast<std::size_t>(kRequests));
  // The first body that gets through counts as progress, once.
  EXPECT_LE(took, 2 * kPatience + seconds(20));
}

TEST_F(StoreRestart, AStoreThatIsSoonBackIsSoonUsed) {
  back_ = seconds(5);
  // A 503 that names no reason counts as throttling, and waits longer.
  EXPECT_LE(RunAll(), seconds(5 + 20));
  EXPECT_TRUE(failures_.empty());
}

TEST_F(StoreRestart, ConnectionsThatFailAreTriedAgainWithinSeconds) {
  back_ = seconds(5);
  for (const TransportFailure failure :
       {TransportFailure::kConnect, TransportFailure::kTls,
        TransportFailure::kBroken}) {
    down_ = [failure] { return Answer{.status = 0, .failure = failure}; };
    EXPECT_LE(RunAll(), seconds(5 + 5));
    EXPECT_TRUE(failures_.empty());
  }
}

}  // namespace
}  // namespace ckptfs
