#include "s3/s3_client.h"

#include <gtest/gtest.h>

#include "s3/object_calls.h"
#include "s3/range_download.h"
#include "support/manual_executor.h"
#include "unit/s3/scripted_transport.h"

namespace ckptfs {
namespace {

using Answer = ScriptedTransport::Answer;

std::string ErrorBody(const std::string& code) {
  return "<Error><Code>" + code + "</Code></Error>";
}

class Client : public ::testing::Test {
 protected:
  // Runs until the task ends, moving time to each timer.
  S3Outcome Run(S3Request request,
                Duration time_allowed = std::chrono::minutes(10)) {
    const CallContext context{stop_.get_token(), clock_.Now() + time_allowed};
    std::optional<S3Outcome> outcome;
    Spawn(executor_, client_.Execute(std::move(request), context),
          UniqueFunction<void(S3Outcome)>(
              [&](S3Outcome o) { outcome = std::move(o); }));
    for (int i = 0; i < 1000 && !outcome.has_value(); ++i) {
      executor_.RunAll();
      if (outcome.has_value()) break;
      const auto next = clock_.UntilNextTimer();
      if (!next.has_value()) break;
      clock_.Advance(*next);
      executor_.RunAll();
    }
    if (!outcome.has_value()) {
      ADD_FAILURE() << "the operation hangs";
      return {};
    }
    return *std::move(outcome);
  }
  S3Request PutOf(std::string bytes, WriteCondition condition = {}) {
    auto owner = std::make_shared<std::string>(std::move(bytes));
    PutRequest put;
    put.key = "key";
    put.payload.segments = {std::as_bytes(std::span(*owner))};
    put.payload.owner = owner;
    put.condition = condition;
    return *BuildPut(put);
  }

  // What a server says to a successful PutObject.
  static ScriptedTransport::Answer Stored() {
    ScriptedTransport::Answer answer;
    answer.headers.Set("ETag", "\"1\"");
    return answer;
  }

  FakeClock clock_;
  ManualExecutor executor_;
  ScriptedTransport transport_;
  StaticCredentials credentials_{{"AKID", "SECRET", ""}};
  std::stop_source stop_;
  S3Client client_{
      transport_,
      clock_,
      executor_,
      credentials_,
      *Endpoint::Create("http://host:9", "us-east-1", "bucket", std::nullopt),
      "us-east-1",
      {}};
};

TEST_F(Client, SendsASignedRequest) {
  transport_.Add(Stored());
  EXPECT_FALSE(Run(PutOf("abc")).failure.has_value());
  ASSERT_EQ(transport_.seen.size(), 1u);
  const auto& sent = transport_.seen[0];
  EXPECT_EQ(sent.method, "PUT");
  EXPECT_EQ(sent.url, "http://host:9/bucket/key");
  EXPECT_EQ(sent.body, "abc");
  EXPECT_EQ(sent.headers.Get("host"), "host:9");
  EXPECT_EQ(sent.headers.Get("x-amz-content-sha256"), kUnsignedPayload);
  EXPECT_TRUE(
      sent.headers.Get("Authorization").starts_with("AWS4-HMAC-SHA256"));
}

TEST_F(Client, RepeatsWhatMayPass) {
  transport_.Add({.status = 503, .body = ErrorBody("SlowDown")});
  transport_.Add({.status = 500, .body = ErrorBody("InternalError")});
  transport_.Add({.status = 0, .failure = TransportFailure::kConnect});
  transport_.Add(Stored());
  EXPECT_FALSE(Run(PutOf("abc")).failure.has_value());
  ASSERT_EQ(transport_.seen.size(), 4u);
  EXPECT_EQ(transport_.seen[3].body, "abc");
}

TEST_F(Client, DoesNotRepeatWhatCannotPass) {
  transport_.Add({.status = 403, .body = ErrorBody("AccessDenied")});
  const S3Outcome outcome = Run(PutOf("abc"));
  ASSERT_TRUE(outcome.failure.has_value());
  EXPECT_EQ(outcome.failure->error.code(), ErrorCode::kPermissionDenied);
  EXPECT_EQ(transport_.seen.size(), 1u);
}

// [S-41]
TEST_F(Client, GivesUpAfterTwoMinutesWithoutProgress) {
  transport_.otherwise = [] {
    return Answer{.status = 503, .body = ErrorBody("SlowDown")};
  };
  const SteadyTime start = clock_.Now();
  const S3Outcome outcome = Run(PutOf("abc"));
  ASSERT_TRUE(outcome.failure.has_value());
  EXPECT_EQ(outcome.failure->error.code(), ErrorCode::kUnavailable);
  EXPECT_EQ(outcome.failure->error.s3_code(), "SlowDown");
  EXPECT_EQ(clock_.Now() - start, std::chrono::minutes(2));
  EXPECT_NE(outcome.failure->error.message().find(
                "given up after " + std::to_string(transport_.seen.size()) +
                " attempts in 120 s"),
            std::string::npos)
      << outcome.failure->error.message();
}

TEST_F(Client, APartThatMovesIsNeverCut) {
  // 20 minutes for one attempt, and one that breaks on the way.
  const auto minutes = [this](int n) {
    return [this, n] { clock_.Advance(std::chrono::minutes(n)); };
  };
  transport_.Add({.failure = TransportFailure::kBroken,
                  .bytes_sent = 30 << 20,
                  .meanwhile = minutes(20)});
  transport_.Add({.failure = TransportFailure::kStallTimeout,
                  .request_sent = false,
                  .bytes_sent = 20 << 20,
                  .meanwhile = minutes(15)});
  Answer stored = Stored();
  stored.meanwhile = minutes(25);
  transport_.Add(stored);
  EXPECT_FALSE(Run(PutOf("abc"), std::chrono::hours(2)).failure.has_value());
  EXPECT_EQ(transport_.seen.size(), 3u);
}

TEST_F(Client, TheDeadlineEndsRetries) {
  for (int i = 0; i < 20; ++i) {
    transport_.Add({.status = 503, .body = ErrorBody("SlowDown")});
  }
  const SteadyTime start = clock_.Now();
  const S3Outcome outcome = Run(PutOf("abc"), std::chrono::seconds(5));
  ASSERT_TRUE(outcome.failure.has_value());
  EXPECT_EQ(outcome.failure->error.code(), ErrorCode::kDeadlineExceeded);
  EXPECT_EQ(outcome.failure->error.s3_code(), "SlowDown");
  EXPECT_LE(clock_.Now() - start, std::chrono::seconds(5));
}

TEST_F(Client, SwitchesToSignedPayloadsWhereAsked) {
  transport_.Add(
      {.status = 400, .body = ErrorBody("XAmzContentSHA256Mismatch")});
  transport_.Add(Stored());
  transport_.Add(Stored());
  EXPECT_FALSE(Run(PutOf("abc")).failure.has_value());
  EXPECT_FALSE(Run(PutOf("abc")).failure.has_value());
  ASSERT_EQ(transport_.seen.size(), 3u);
  for (int i : {1, 2}) {
    EXPECT_EQ(
        transport_.seen[i].headers.Get("x-amz-content-sha256"),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  }
}

TEST_F(Client, ASignedPayloadThatDoesNotHelpIsNotRemembered) {
  transport_.Add({.status = 400, .body = ErrorBody("InvalidRequest")});
  transport_.Add({.status = 400, .body = ErrorBody("InvalidRequest")});
  transport_.Add(Stored());
  EXPECT_TRUE(Run(PutOf("abc")).failure.has_value());
  EXPECT_FALSE(Run(PutOf("abc")).failure.has_value());
  EXPECT_EQ(transport_.seen[2].headers.Get("x-amz-content-sha256"),
            kUnsignedPayload);
}

TEST_F(Client, AConditionThatFailsAfterALostReplyIsToBeSettled) {
  WriteCondition absent;
  absent.if_none_match = true;
  const Answer lost{.status = 0, .failure = TransportFailure::kBroken};
  const Answer refused{.status = 412, .body = ErrorBody("PreconditionFailed")};
  transport_.Add(lost);
  transport_.Add(refused);
  EXPECT_TRUE(Run(PutOf("abc", absent)).maybe_executed);

  transport_.Add(refused);
  EXPECT_FALSE(Run(PutOf("abc", absent)).maybe_executed);

  // Turned away, so not executed.
  transport_.Add({.status = 503, .body = ErrorBody("SlowDown")});
  transport_.Add(refused);
  EXPECT_FALSE(Run(PutOf("abc", absent)).maybe_executed);

  // A proxy's own answer, which it also gives when it has lost the server's.
  transport_.Add({.status = 503, .body = "upstream connect error"});
  transport_.Add(refused);
  EXPECT_TRUE(Run(PutOf("abc", absent)).maybe_executed);

  // The body was not all sent.
  transport_.Add({.failure = TransportFailure::kBroken, .request_sent = false});
  transport_.Add(refused);
  EXPECT_FALSE(Run(PutOf("abc", absent)).maybe_executed);

  // libcurl sent it twice by itself.
  Answer twice = refused;
  twice.replayed = true;
  transport_.Add(twice);
  EXPECT_TRUE(Run(PutOf("abc", absent)).maybe_executed);
}

// However it ends, an attempt whose reply got lost is not forgotten. [S-02]
TEST_F(Client, NoEndOfARequestHidesALostReply) {
  const Answer lost{.status = 0, .failure = TransportFailure::kBroken};
  const std::vector<Answer> ends = {
      {.status = 400, .body = ErrorBody("ExpiredToken")},
      {.status = 403, .body = ErrorBody("AccessDenied")},
      {.status = 404, .body = ErrorBody("NoSuchUpload")},
      {.status = 501, .body = ErrorBody("NotImplemented")},
      {.failure = TransportFailure::kCertificate},
      {.failure = TransportFailure::kDeadline},
      {.failure = TransportFailure::kCancelled},
      {.failure = TransportFailure::kInternal},
      {.failure = TransportFailure::kMalformed}};
  for (const Answer& end : ends) {
    transport_.Add(lost);
    transport_.Add(end);
    const S3Outcome outcome = Run(PutOf("abc"));
    ASSERT_TRUE(outcome.failure.has_value());
    EXPECT_TRUE(outcome.maybe_executed) << outcome.failure->error.ToString();
    // Alone they tell.
    transport_.Add(end);
    EXPECT_EQ(Run(PutOf("abc")).maybe_executed,
              end.failure == TransportFailure::kMalformed);
  }
  // Cut while all of it was on its way.
  for (const TransportFailure cut :
       {TransportFailure::kDeadline, TransportFailure::kCancelled}) {
    transport_.Add({.failure = cut, .request_sent = true});
    EXPECT_TRUE(Run(PutOf("abc")).maybe_executed);
  }
  // The deadline passes, or the caller stops, between two attempts.
  transport_.otherwise = [&] { return lost; };
  EXPECT_TRUE(Run(PutOf("abc"), std::chrono::seconds(5)).maybe_executed);
  transport_.otherwise = [&] {
    Answer last = lost;
    last.meanwhile = [this] { stop_.request_stop(); };
    return last;
  };
  const S3Outcome stopped = Run(PutOf("abc"));
  EXPECT_EQ(stopped.failure->error.code(), ErrorCode::kCancelled);
  EXPECT_TRUE(stopped.maybe_executed);
}

TEST_F(Client, AStopEndsTheWaitBetweenAttempts) {
  transport_.Add({.status = 503, .body = ErrorBody("SlowDown")});
  const CallContext context{stop_.get_token(),
                            clock_.Now() + std::chrono::minutes(10)};
  std::optional<S3Outcome> outcome;
  Spawn(executor_, client_.Execute(PutOf("abc"), context),
        UniqueFunction<void(S3Outcome)>(
            [&](S3Outcome o) { outcome = std::move(o); }));
  executor_.RunAll();
  EXPECT_FALSE(outcome.has_value());
  stop_.request_stop();
  executor_.RunAll();
  ASSERT_TRUE(outcome.has_value());
  EXPECT_EQ(outcome->failure->error.code(), ErrorCode::kCancelled);
  EXPECT_EQ(transport_.seen.size(), 1u);
}

TEST_F(Client, LetsGoOfThePayloadBeforeItAnswers) {
  auto owner = std::make_shared<std::string>("abc");
  S3Request request = PutOf("");
  request.body.segments = {std::as_bytes(std::span(*owner))};
  request.body.owner = owner;
  transport_.Add(Stored());
  const CallContext context{stop_.get_token(),
                            clock_.Now() + std::chrono::minutes(10)};
  long holders = 0;
  Spawn(executor_, client_.Execute(std::move(request), context),
        UniqueFunction<void(S3Outcome)>(
            [&](S3Outcome) { holders = owner.use_count(); }));
  executor_.RunAll();
  EXPECT_EQ(holders, 1);
}

TEST_F(Client, NoCredentialReachesAnError) {
  transport_.Add({.status = 403, .body = ErrorBody("SignatureDoesNotMatch")});
  const std::string text = Run(PutOf("abc")).failure->error.ToString();
  EXPECT_EQ(text.find("SECRET"), std::string::npos);
  EXPECT_EQ(text.find("Signature="), std::string::npos);
}

// --- ranged downloads -------------------------------------------------------

class Download : public Client {
 protected:
  static HttpHeaders Part(std::uint64_t first, std::uint64_t last,
                          std::uint64_t total, const std::string& etag = "e1") {
    return {{"Content-Range", "bytes " + std::to_string(first) + "-" +
                                  std::to_string(last) + "/" +
                                  std::to_string(total)},
            {"Content-Length", std::to_string(last - first + 1)},
            {"ETag", "\"" + etag + "\""}};
  }
  S3Outcome Get(std::uint64_t offset, std::size_t size, ETag if_match = {}) {
    buffer_ = std::make_shared<std::string>(size, '-');
    Destination d;
    d.segments = {
        std::as_writable_bytes(std::span(*buffer_).first(size / 3)),
        std::as_writable_bytes(std::span(*buffer_).subspan(size / 3))};
    d.owner = buffer_;
    download_ = std::make_shared<RangeDownload>("key", offset, std::move(d),
                                                std::move(if_match));
    return Run(BuildGet("key", "", download_));
  }
  std::shared_ptr<std::string> buffer_;
  std::shared_ptr<RangeDownload> download_;
};

TEST_F(Download, OneRange) {
  transport_.Add({206, Part(10, 15, 100), "012345"});
  EXPECT_FALSE(Get(10, 6).failure.has_value());
  EXPECT_EQ(*buffer_, "012345");
  EXPECT_EQ(download_->info().size, 100u);
  EXPECT_EQ(transport_.seen[0].headers.Get("Range"), "bytes=10-15");
  EXPECT_FALSE(transport_.seen[0].headers.Find("If-Match").has_value());
}

TEST_F(Download, ResumesAtTheFirstMissingByteWithTheFirstETag) {
  transport_.Add({206, Part(10, 19, 100), "0123", TransportFailure::kBroken});
  transport_.Add({0, {}, "", TransportFailure::kConnect});
  transport_.Add({206, Part(14, 19, 100), "45", TransportFailure::kShortBody});
  transport_.Add({206, Part(16, 19, 100), "6789"});
  EXPECT_FALSE(Get(10, 10).failure.has_value());
  EXPECT_EQ(*buffer_, "0123456789");
  EXPECT_EQ(download_->received(), 10u);
  EXPECT_EQ(transport_.seen[3].headers.Get("Range"), "bytes=16-19");
  EXPECT_EQ(transport_.seen[3].headers.Get("If-Match"), "\"e1\"");
}

TEST_F(Download, AReplacementBetweenAttemptsIsStale) {
  for (const Answer& second : {Answer{412, {}, ErrorBody("PreconditionFailed")},
                               Answer{404, {}, ErrorBody("NoSuchKey")},
                               // The server ignores If-Match.
                               Answer{206, Part(4, 9, 100, "e2"), "456789"}}) {
    transport_.Add({206, Part(0, 9, 100), "0123", TransportFailure::kBroken});
    transport_.Add(second);
    const S3Outcome outcome = Get(0, 10);
    ASSERT_TRUE(outcome.failure.has_value());
    EXPECT_EQ(outcome.failure->error.code(), ErrorCode::kStale);
    EXPECT_EQ(*buffer_, "0123------");
  }
}

TEST_F(Download, APinThatFailsAtOnceIsAFailedPrecondition) {
  transport_.Add({412, {}, ErrorBody("PreconditionFailed")});
  EXPECT_EQ(Get(0, 10, ETag{"\"e0\""}).failure->error.code(),
            ErrorCode::kPreconditionFailed);
  transport_.Add({206, Part(0, 9, 100, "e1"), "0123456789"});
  EXPECT_EQ(Get(0, 10, ETag{"\"e0\""}).failure->error.code(),
            ErrorCode::kPreconditionFailed);
  EXPECT_EQ(*buffer_, "----------");
}

TEST_F(Download, AWrongRangeIsRepeatedThenDataLoss) {
  transport_.Add({206, Part(11, 20, 100), "1234567890"});
  transport_.Add({206, Part(10, 19, 100), "0123456789"});
  EXPECT_FALSE(Get(10, 10).failure.has_value());
  EXPECT_EQ(*buffer_, "0123456789");

  HttpHeaders no_range{{"Content-Length", "10"}, {"ETag", "\"e1\""}};
  for (int i = 0; i < 3; ++i) transport_.Add({206, no_range, "0123456789"});
  const S3Outcome outcome = Get(10, 10);
  ASSERT_TRUE(outcome.failure.has_value());
  EXPECT_EQ(outcome.failure->error.code(), ErrorCode::kDataLoss);
  EXPECT_EQ(*buffer_, "----------");
}

TEST_F(Download, AServerThatIgnoresRange) {
  const HttpHeaders whole{{"Content-Length", "10"}, {"ETag", "\"e1\""}};
  transport_.Add({200, whole, "0123456789"});
  EXPECT_FALSE(Get(4, 100).failure.has_value());
  EXPECT_EQ(buffer_->substr(0, 7), "456789-");
  EXPECT_EQ(download_->received(), 6u);

  transport_.Add({200, whole, "0123456789"});
  EXPECT_EQ(Get(0, 5).failure->error.code(), ErrorCode::kUnsupported);
  EXPECT_EQ(*buffer_, "-----");
}

// rclone's `serve s3` answers like this.
TEST_F(Download, A200WithTheRangeAskedForIsAPartialAnswer) {
  transport_.Add({200, Part(4, 6, 10), "456"});
  EXPECT_FALSE(Get(4, 3).failure.has_value());
  EXPECT_EQ(*buffer_, "456");
  EXPECT_EQ(download_->received(), 3u);
  EXPECT_EQ(download_->info().size, 10u);

  transport_.Add({200, Part(4, 9, 10), "45", TransportFailure::kBroken});
  transport_.Add({200, Part(6, 9, 10, "e2"), "6789"});
  EXPECT_EQ(Get(4, 6).failure->error.code(), ErrorCode::kStale);
  EXPECT_EQ(*buffer_, "45----");

  HttpHeaders whole_body = Part(4, 6, 10);
  whole_body.Set("Content-Length", "10");
  for (int i = 0; i < 3; ++i) transport_.Add({200, whole_body, "0123456789"});
  EXPECT_EQ(Get(4, 3).failure->error.code(), ErrorCode::kDataLoss);
  EXPECT_EQ(*buffer_, "---");
}

TEST_F(Download, AShortObjectIsASuccess) {
  transport_.Add({206, Part(90, 99, 100), "0123456789"});
  EXPECT_FALSE(Get(90, 50).failure.has_value());
  EXPECT_EQ(download_->received(), 10u);
  EXPECT_FALSE(download_->past_end());
}

TEST_F(Download, BeyondTheEndIsEmpty) {
  transport_.Add({416, {}, ErrorBody("InvalidRange")});
  EXPECT_FALSE(Get(100, 50).failure.has_value());
  EXPECT_TRUE(download_->past_end());
  EXPECT_EQ(download_->received(), 0u);
}

TEST_F(Download, ABodyThatEndsEarlyWithoutAnErrorIsResumed) {
  transport_.Add({206, Part(0, 9, 100), "01234"});
  transport_.Add({206, Part(5, 9, 100), "56789"});
  EXPECT_FALSE(Get(0, 10).failure.has_value());
  EXPECT_EQ(*buffer_, "0123456789");
}

}  // namespace
}  // namespace ckptfs
