// The vectors are the examples of "Signature Calculations for the
// Authorization Header: Transferring Payload in a Single Chunk" in the Amazon
// S3 API Reference.
#include "s3/sigv4.h"

#include <gtest/gtest.h>

#include "s3/digest.h"

namespace ckptfs {
namespace {

constexpr char kHost[] = "examplebucket.s3.amazonaws.com";

WallClockTime At(const char* iso) { return *ParseIso8601(iso); }

class SigV4 : public ::testing::Test {
 protected:
  std::string SignatureOf(SignableRequest request) {
    request.headers.Set("Host", kHost);
    signer_.Sign(request, credentials_, At("2013-05-24T00:00:00Z"));
    authorization_ = request.headers.Get("Authorization");
    return authorization_.substr(authorization_.find("Signature=") + 10);
  }

  Credentials credentials_{"AKIAIOSFODNN7EXAMPLE",
                           "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", ""};
  SigV4Signer signer_{"us-east-1"};
  std::string authorization_;
};

TEST_F(SigV4, GetObject) {
  SignableRequest r{
      "GET", "/test.txt", {}, {{"Range", "bytes=0-9"}}, kEmptySha256};
  EXPECT_EQ(SignatureOf(r),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
  EXPECT_EQ(
      authorization_,
      "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/"
      "aws4_request,SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,"
      "Signature="
      "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

TEST_F(SigV4, GetObjectStepByStep) {
  const SignableRequest r{"GET",
                          "/test.txt",
                          {},
                          {{"Host", kHost},
                           {"Range", "bytes=0-9"},
                           {"x-amz-content-sha256", kEmptySha256},
                           {"x-amz-date", "20130524T000000Z"}},
                          kEmptySha256};
  const std::string canonical = CanonicalRequest(r);
  EXPECT_EQ(canonical,
            "GET\n/test.txt\n\nhost:examplebucket.s3.amazonaws.com\n"
            "range:bytes=0-9\nx-amz-content-sha256:" +
                std::string(kEmptySha256) +
                "\nx-amz-date:20130524T000000Z\n\n"
                "host;range;x-amz-content-sha256;x-amz-date\n" +
                kEmptySha256);
  EXPECT_EQ(StringToSign("20130524T000000Z", "us-east-1", canonical),
            "AWS4-HMAC-SHA256\n20130524T000000Z\n"
            "20130524/us-east-1/s3/aws4_request\n"
            "7344ae5b7ee6c3e7e6b0fe0640412a37625d1fbfff95c48bbb2dc43964946972");
}

TEST_F(SigV4, PutObject) {
  SignableRequest r{"PUT",
                    "/test%24file.text",
                    {},
                    {{"Date", "Fri, 24 May 2013 00:00:00 GMT"},
                     {"x-amz-storage-class", "REDUCED_REDUNDANCY"}},
                    Hex(AsBytes(Sha256("Welcome to Amazon S3.")))};
  EXPECT_EQ(SignatureOf(r),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
}

TEST_F(SigV4, GetBucketLifecycle) {
  SignableRequest r{"GET", "/", {{"lifecycle", ""}}, {}, kEmptySha256};
  EXPECT_EQ(SignatureOf(r),
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
}

TEST_F(SigV4, ListObjects) {
  SignableRequest r{
      "GET", "/", {{"prefix", "J"}, {"max-keys", "2"}}, {}, kEmptySha256};
  EXPECT_EQ(SignatureOf(r),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

TEST_F(SigV4, ACachedKeyFollowsTheDayAndTheSecret) {
  const auto sign = [](SigV4Signer& signer, const Credentials& c,
                       const char* when) {
    SignableRequest r{"GET", "/k", {}, {{"host", kHost}}, kEmptySha256};
    signer.Sign(r, c, At(when));
    return std::string(r.headers.Get("Authorization"));
  };
  Credentials other = credentials_;
  other.secret_access_key = "another";
  sign(signer_, credentials_, "2013-05-24T23:59:59Z");
  for (const auto& [c, when] :
       {std::pair(credentials_, "2013-05-25T00:00:00Z"),
        std::pair(other, "2013-05-25T00:00:00Z"),
        std::pair(credentials_, "2013-05-24T00:00:00Z")}) {
    SigV4Signer fresh("us-east-1");
    EXPECT_EQ(sign(signer_, c, when), sign(fresh, c, when));
  }
}

TEST_F(SigV4, ASessionTokenIsSignedAlong) {
  credentials_.session_token = "token";
  SignableRequest r{"GET", "/k", {}, {{"host", kHost}}, kEmptySha256};
  signer_.Sign(r, credentials_, At("2013-05-24T00:00:00Z"));
  EXPECT_EQ(r.headers.Get("x-amz-security-token"), "token");
  EXPECT_NE(r.headers.Get("Authorization").find("x-amz-security-token"),
            std::string_view::npos);
}

TEST(CanonicalQuery, EncodesAndSorts) {
  EXPECT_EQ(CanonicalQuery({{"prefix", "a/b c+~"}, {"list-type", "2"}}),
            "list-type=2&prefix=a%2Fb%20c%2B~");
}

TEST(CanonicalHeaders, SpacesCollapse) {
  const SignableRequest r{"GET", "/", {}, {{"X-A", "  a   b "}}, "h"};
  EXPECT_EQ(CanonicalRequest(r), "GET\n/\n\nx-a:a b\n\nx-a\nh");
}

}  // namespace
}  // namespace ckptfs
