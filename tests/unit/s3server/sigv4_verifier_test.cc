// The verifier on the examples that AWS publishes ("Signature Calculations for
// the Authorization Header", Amazon S3 API Reference): if it accepts those, and
// nothing that differs by one byte, it is right.
#include "s3server/sigv4_verifier.h"

#include <gtest/gtest.h>

namespace ckptfs::s3server {
namespace {

constexpr char kEmptySha256[] =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

SigV4Verifier Verifier(std::string token = "") {
  return SigV4Verifier(
      {"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
       std::move(token)},
      "us-east-1");
}

SystemTime Now() { return *ParseAmzDate("20130524T000300Z"); }

std::string Authorization(const std::string& signed_headers,
                          const std::string& signature) {
  return "AWS4-HMAC-SHA256 "
         "Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
         "SignedHeaders=" +
         signed_headers + ",Signature=" + signature;
}

Request GetObjectExample() {
  return *ParseHead(
      "GET /test.txt HTTP/1.1\r\n"
      "Host: examplebucket.s3.amazonaws.com\r\n"
      "Range: bytes=0-9\r\n"
      "x-amz-content-sha256: " +
      std::string(kEmptySha256) +
      "\r\nx-amz-date: 20130524T000000Z\r\nAuthorization: " +
      Authorization("host;range;x-amz-content-sha256;x-amz-date",
                    "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c603"
                    "6bdb41"));
}

void SetHeader(Request* request, std::string_view name, std::string value) {
  for (auto& [key, old] : request->headers) {
    if (key == name) old = std::move(value);
  }
}

std::string CodeOf(const std::optional<S3Error>& error) {
  return error ? error->code : "accepted";
}

TEST(SigV4VerifierTest, GetObjectExample) {
  EXPECT_EQ(CodeOf(Verifier().Verify(GetObjectExample(), Now())), "accepted");
}

TEST(SigV4VerifierTest, PutObjectExample) {
  const Request request = *ParseHead(
      "PUT /test%24file.text HTTP/1.1\r\n"
      "Host: examplebucket.s3.amazonaws.com\r\n"
      "Date: Fri, 24 May 2013 00:00:00 GMT\r\n"
      "x-amz-date: 20130524T000000Z\r\n"
      "x-amz-storage-class: REDUCED_REDUNDANCY\r\n"
      "x-amz-content-sha256: "
      "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072\r\n"
      "Authorization: " +
      Authorization("date;host;x-amz-content-sha256;x-amz-date;"
                    "x-amz-storage-class",
                    "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ec"
                    "e108bd"));
  EXPECT_EQ(CodeOf(Verifier().Verify(request, Now())), "accepted");
}

TEST(SigV4VerifierTest, QueryWithoutValueExample) {
  const Request request = *ParseHead(
      "GET /?lifecycle HTTP/1.1\r\n"
      "Host: examplebucket.s3.amazonaws.com\r\n"
      "x-amz-content-sha256: " +
      std::string(kEmptySha256) +
      "\r\nx-amz-date: 20130524T000000Z\r\nAuthorization: " +
      Authorization("host;x-amz-content-sha256;x-amz-date",
                    "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136"
                    "783543"));
  EXPECT_EQ(CodeOf(Verifier().Verify(request, Now())), "accepted");
}

TEST(SigV4VerifierTest, ListObjectsExample) {
  // The order of the query does not matter to the signature.
  for (const char* target :
       {"/?max-keys=2&prefix=J", "/?prefix=J&max-keys=2"}) {
    const Request request = *ParseHead(
        "GET " + std::string(target) +
        " HTTP/1.1\r\n"
        "Host: examplebucket.s3.amazonaws.com\r\n"
        "x-amz-content-sha256: " +
        std::string(kEmptySha256) +
        "\r\nx-amz-date: 20130524T000000Z\r\nAuthorization: " +
        Authorization("host;x-amz-content-sha256;x-amz-date",
                      "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711e"
                      "f69dc6f7"));
    EXPECT_EQ(CodeOf(Verifier().Verify(request, Now())), "accepted");
  }
}

TEST(SigV4VerifierTest, AnyChangeBreaksTheSignature) {
  const auto code_after = [](auto change) {
    Request request = GetObjectExample();
    change(request);
    return CodeOf(Verifier().Verify(request, Now()));
  };
  EXPECT_EQ(code_after([](Request& r) { r.path = "/test.txu"; }),
            "SignatureDoesNotMatch");
  EXPECT_EQ(code_after([](Request& r) { r.method = "HEAD"; }),
            "SignatureDoesNotMatch");
  EXPECT_EQ(code_after([](Request& r) { r.query = {{"a", ""}}; }),
            "SignatureDoesNotMatch");
  EXPECT_EQ(code_after([](Request& r) { SetHeader(&r, "range", "bytes=0-8"); }),
            "SignatureDoesNotMatch");
  EXPECT_EQ(code_after([](Request& r) {
              SetHeader(&r, "x-amz-date", "20130524T000001Z");
            }),
            "SignatureDoesNotMatch");
  EXPECT_EQ(code_after([](Request& r) {
              SetHeader(&r, "x-amz-content-sha256", "UNSIGNED-PAYLOAD");
            }),
            "SignatureDoesNotMatch");
  EXPECT_EQ(code_after([](Request& r) {
              r.headers.emplace_back("x-amz-acl", "private");
            }),
            "AccessDenied");  // not signed
}

TEST(SigV4VerifierTest, WrongSecret) {
  const SigV4Verifier verifier({"AKIAIOSFODNN7EXAMPLE", "other", ""}, "");
  const auto error = verifier.Verify(GetObjectExample(), Now());
  ASSERT_TRUE(error);
  EXPECT_EQ(error->status, 403);
  EXPECT_EQ(error->code, "SignatureDoesNotMatch");
}

TEST(SigV4VerifierTest, UnknownKey) {
  const SigV4Verifier verifier({"OTHER", "x", ""}, "us-east-1");
  const auto error = verifier.Verify(GetObjectExample(), Now());
  ASSERT_TRUE(error);
  EXPECT_EQ(error->status, 403);
  EXPECT_EQ(error->code, "InvalidAccessKeyId");
}

TEST(SigV4VerifierTest, WrongRegionNamesTheRightOne) {
  const SigV4Verifier verifier({"AKIAIOSFODNN7EXAMPLE", "x", ""}, "eu-west-1");
  const auto error = verifier.Verify(GetObjectExample(), Now());
  ASSERT_TRUE(error);
  EXPECT_EQ(error->status, 400);
  EXPECT_EQ(error->code, "AuthorizationHeaderMalformed");
  EXPECT_EQ(error->details[0].second, "eu-west-1");
}

TEST(SigV4VerifierTest, ClocksMayDifferByAQuarterOfAnHour) {
  using std::chrono::minutes;
  using std::chrono::seconds;
  const SystemTime then = *ParseAmzDate("20130524T000000Z");
  const Request request = GetObjectExample();
  const SigV4Verifier verifier = Verifier();
  EXPECT_FALSE(verifier.Verify(request, then + minutes(15)));
  EXPECT_FALSE(verifier.Verify(request, then - minutes(15)));
  for (const auto skew : {seconds(901), seconds(-901)}) {
    EXPECT_EQ(CodeOf(verifier.Verify(request, then + skew)),
              "RequestTimeTooSkewed");
  }
}

TEST(SigV4VerifierTest, WantsItsToken) {
  EXPECT_EQ(CodeOf(Verifier("token").Verify(GetObjectExample(), Now())),
            "InvalidToken");
}

TEST(SigV4VerifierTest, RefusesWhatIsNotSignatureV4) {
  Request request = GetObjectExample();
  for (const char* header : {"", "Basic x", "AWS4-HMAC-SHA256",
                             "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=h",
                             "AWS AKIAIOSFODNN7EXAMPLE:x"}) {
    SetHeader(&request, "authorization", header);
    EXPECT_TRUE(Verifier().Verify(request, Now())) << header;
  }
  request.headers.clear();
  EXPECT_EQ(CodeOf(Verifier().Verify(request, Now())), "AccessDenied");
}

}  // namespace
}  // namespace ckptfs::s3server
