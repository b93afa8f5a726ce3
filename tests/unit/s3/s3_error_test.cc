#include "s3/s3_error.h"

#include <gtest/gtest.h>

namespace ckptfs {
namespace {

class Classification : public ::testing::Test {
 protected:
  S3Failure Of(int status, const std::string& code, HttpHeaders headers = {},
               const std::string& extra = "") {
    HttpResponse r;
    r.status = status;
    r.headers = std::move(headers);
    if (!code.empty()) {
      r.body = "<Error><Code>" + code +
               "</Code><Message>server text</Message>" + extra +
               "<RequestId>RID</RequestId></Error>";
    }
    auto failure = Classify(request_, r, endpoint_, now_);
    if (!failure.has_value()) {
      ADD_FAILURE() << "classified as a success";
      return {ErrorClass::kTerminal, Error(ErrorCode::kInternal, ""), {}};
    }
    return *failure;
  }

  Endpoint endpoint_ =
      *Endpoint::Create("http://host:1", "us-east-1", "bucket", std::nullopt);
  S3Request request_ = [] {
    S3Request r;
    r.operation = "get";
    r.method = "GET";
    r.key = "a/b";
    return r;
  }();
  WallClockTime now_ = *ParseIso8601("2026-01-01T00:10:00Z");
};

TEST_F(Classification, ByCodeThenByStatus) {
  struct Row {
    int status;
    const char* code;
    ErrorClass error_class;
    ErrorCode error_code;
  };
  const Row rows[] = {
      {404, "NoSuchKey", ErrorClass::kTerminal, ErrorCode::kNotFound},
      {404, "", ErrorClass::kTerminal, ErrorCode::kNotFound},
      {404, "NoSuchUpload", ErrorClass::kGone, ErrorCode::kNotFound},
      {403, "AccessDenied", ErrorClass::kTerminal,
       ErrorCode::kPermissionDenied},
      {403, "", ErrorClass::kTerminal, ErrorCode::kPermissionDenied},
      {403, "SignatureDoesNotMatch", ErrorClass::kTerminal,
       ErrorCode::kUnauthenticated},
      {403, "InvalidAccessKeyId", ErrorClass::kTerminal,
       ErrorCode::kUnauthenticated},
      {400, "ExpiredToken", ErrorClass::kTerminal, ErrorCode::kUnauthenticated},
      {412, "PreconditionFailed", ErrorClass::kCondition,
       ErrorCode::kPreconditionFailed},
      {412, "", ErrorClass::kCondition, ErrorCode::kPreconditionFailed},
      {409, "ConditionalRequestConflict", ErrorClass::kConflict,
       ErrorCode::kConflict},
      {503, "SlowDown", ErrorClass::kThrottled, ErrorCode::kUnavailable},
      {503, "ServiceUnavailable", ErrorClass::kTransient,
       ErrorCode::kUnavailable},
      {429, "", ErrorClass::kThrottled, ErrorCode::kUnavailable},
      {500, "InternalError", ErrorClass::kTransient, ErrorCode::kUnavailable},
      {502, "", ErrorClass::kTransient, ErrorCode::kUnavailable},
      {400, "RequestTimeout", ErrorClass::kTransient, ErrorCode::kUnavailable},
      {400, "BadDigest", ErrorClass::kCorrupted, ErrorCode::kDataLoss},
      {501, "NotImplemented", ErrorClass::kTerminal, ErrorCode::kUnsupported},
      {400, "InvalidPart", ErrorClass::kTerminal, ErrorCode::kInvalidArgument},
      {400, "XAmzContentSHA256Mismatch", ErrorClass::kPayloadSigning,
       ErrorCode::kInvalidArgument},
  };
  for (const Row& row : rows) {
    const S3Failure f = Of(row.status, row.code);
    EXPECT_EQ(f.error_class, row.error_class) << row.status << row.code;
    EXPECT_EQ(f.error.code(), row.error_code) << row.status << row.code;
    EXPECT_EQ(f.error.http_status(), row.status);
    EXPECT_EQ(f.error.s3_code(), row.code);
    EXPECT_EQ(f.error.key(), "a/b");
    EXPECT_EQ(f.error.message().find("get s3://bucket/a/b: "), 0u);
  }
}

TEST_F(Classification, KeepsTheRequestId) {
  EXPECT_EQ(Of(404, "NoSuchKey").error.request_id(), "RID");
  EXPECT_EQ(Of(404, "", {{"x-amz-request-id", "H"}}).error.request_id(), "H");
}

TEST_F(Classification, NamesTheBucketThatIsMissing) {
  const Error e = Of(404, "NoSuchBucket").error;
  EXPECT_EQ(e.code(), ErrorCode::kNotFound);
  EXPECT_NE(
      e.message().find("bucket \"bucket\" does not exist at http://host:1"),
      std::string::npos)
      << e.message();
}

TEST_F(Classification, NamesTheClockSkew) {
  const Error e = Of(403, "RequestTimeTooSkewed",
                     {{"Date", "Thu, 01 Jan 2026 00:00:00 GMT"}})
                      .error;
  EXPECT_EQ(e.code(), ErrorCode::kUnauthenticated);
  EXPECT_NE(e.message().find("clock is 600 s ahead of"), std::string::npos)
      << e.message();
}

TEST_F(Classification, NamesTheRegion) {
  const Error a =
      Of(301, "PermanentRedirect", {{"x-amz-bucket-region", "eu-central-1"}})
          .error;
  const Error b = Of(400, "AuthorizationHeaderMalformed", {},
                     "<Region>eu-central-1</Region>")
                      .error;
  for (const Error& e : {a, b}) {
    EXPECT_EQ(e.code(), ErrorCode::kInvalidArgument);
    EXPECT_NE(e.message().find("--region eu-central-1"), std::string::npos)
        << e.message();
  }
}

TEST_F(Classification, ReadsRetryAfter) {
  EXPECT_EQ(Of(503, "SlowDown", {{"Retry-After", "3"}}).retry_after,
            std::chrono::seconds(3));
  EXPECT_EQ(Of(503, "SlowDown", {{"x-amz-retry-after", "250"}}).retry_after,
            std::chrono::milliseconds(250));
  EXPECT_FALSE(
      Of(503, "SlowDown", {{"Retry-After", "soon"}}).retry_after.has_value());
}

TEST_F(Classification, AnErrorInsideA200) {
  request_.expected_root = "CompleteMultipartUploadResult";
  const S3Failure f = Of(200, "InternalError");
  EXPECT_EQ(f.error_class, ErrorClass::kTransient);
  EXPECT_EQ(f.error.code(), ErrorCode::kUnavailable);
  EXPECT_EQ(Of(200, "").error_class, ErrorClass::kLost);  // empty body
  EXPECT_EQ(Of(200, "SlowDown").error_class, ErrorClass::kThrottled);
  HttpResponse good;
  good.status = 200;
  good.body = "<CompleteMultipartUploadResult/>";
  EXPECT_FALSE(Classify(request_, good, endpoint_, now_).has_value());
}

TEST_F(Classification, AnErrorInsideTheEmptyAnswerOfAPut) {
  request_.answers_empty = request_.needs_etag = true;
  EXPECT_EQ(Of(200, "InternalError").error_class, ErrorClass::kTransient);
  EXPECT_EQ(Of(200, "AccessDenied").error.code(), ErrorCode::kPermissionDenied);
  EXPECT_EQ(Of(200, "").error_class, ErrorClass::kLost);  // no ETag
  HttpResponse good;
  good.status = 200;
  good.headers.Set("ETag", "\"1\"");
  EXPECT_FALSE(Classify(request_, good, endpoint_, now_).has_value());
  request_.needs_etag = false;  // a delete
  EXPECT_EQ(Of(204, "InternalError").error_class, ErrorClass::kTransient);
}

TEST_F(Classification, AnAbsentKeyFailsIfMatch) {
  request_.requires_existing = true;
  EXPECT_EQ(Of(404, "NoSuchKey").error.code(), ErrorCode::kPreconditionFailed);
  EXPECT_EQ(Of(404, "NoSuchBucket").error.code(), ErrorCode::kNotFound);
}

TEST_F(Classification, TransportFailures) {
  struct Row {
    TransportFailure failure;
    ErrorClass error_class;
    ErrorCode code;
  };
  const Row rows[] = {
      {TransportFailure::kCancelled, ErrorClass::kTerminal,
       ErrorCode::kCancelled},
      {TransportFailure::kDeadline, ErrorClass::kTerminal,
       ErrorCode::kDeadlineExceeded},
      {TransportFailure::kResolve, ErrorClass::kNotSent,
       ErrorCode::kUnavailable},
      {TransportFailure::kConnect, ErrorClass::kNotSent,
       ErrorCode::kUnavailable},
      {TransportFailure::kTls, ErrorClass::kHandshake, ErrorCode::kUnavailable},
      {TransportFailure::kCertificate, ErrorClass::kTerminal,
       ErrorCode::kUnavailable},
      {TransportFailure::kStallTimeout, ErrorClass::kLost,
       ErrorCode::kUnavailable},
      {TransportFailure::kBroken, ErrorClass::kLost, ErrorCode::kUnavailable},
  };
  for (const Row& row : rows) {
    HttpResponse r;
    r.failure = row.failure;
    r.failure_text = "why";
    const auto f = Classify(request_, r, endpoint_, now_);
    ASSERT_TRUE(f.has_value());
    EXPECT_EQ(f->error_class, row.error_class);
    EXPECT_EQ(f->error.code(), row.code);
    if (row.failure == TransportFailure::kCertificate) {
      EXPECT_EQ(f->error.s3_code(), "CertificateError");
      EXPECT_NE(f->error.message().find("--ca-file"), std::string::npos);
    }
    if (row.error_class == ErrorClass::kNotSent) {
      EXPECT_NE(f->error.message().find("http://host:1"), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace ckptfs
