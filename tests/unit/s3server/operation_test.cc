#include "s3server/operation.h"

#include <gtest/gtest.h>

namespace ckptfs::s3server {
namespace {

Reply<Operation> IdentifyLine(const std::string& line,
                              const std::string& headers = "Host: h:80") {
  const auto request = ParseHead(line + " HTTP/1.1\r\n" + headers);
  if (!request) return Refuse(0, "NotParsed", line);
  return Identify(*request, [](const std::string& bucket) {
    return bucket == "b" || bucket == "dotted.name";
  });
}

std::string NameOfLine(const std::string& line,
                       const std::string& headers = "Host: h:80") {
  const auto operation = IdentifyLine(line, headers);
  return operation ? std::string(NameOf(operation->kind))
                   : operation.error().code;
}

TEST(IdentifyTest, NamesEachOperation) {
  EXPECT_EQ(NameOfLine("GET /"), "ListBuckets");
  EXPECT_EQ(NameOfLine("HEAD /b"), "HeadBucket");
  EXPECT_EQ(NameOfLine("PUT /b/"), "CreateBucket");
  EXPECT_EQ(NameOfLine("DELETE /b"), "DeleteBucket");
  EXPECT_EQ(NameOfLine("GET /b?location"), "GetBucketLocation");
  EXPECT_EQ(NameOfLine("GET /b"), "ListObjects");
  EXPECT_EQ(NameOfLine("GET /b?list-type=2&prefix=x"), "ListObjectsV2");
  EXPECT_EQ(NameOfLine("POST /b?delete"), "DeleteObjects");
  EXPECT_EQ(NameOfLine("GET /b?uploads"), "ListMultipartUploads");
  EXPECT_EQ(NameOfLine("HEAD /b/k"), "HeadObject");
  EXPECT_EQ(NameOfLine("GET /b/k"), "GetObject");
  EXPECT_EQ(NameOfLine("PUT /b/k"), "PutObject");
  EXPECT_EQ(NameOfLine("PUT /b/k", "x-amz-copy-source: /b/j"), "CopyObject");
  EXPECT_EQ(NameOfLine("DELETE /b/k"), "DeleteObject");
  EXPECT_EQ(NameOfLine("POST /b/k?uploads"), "CreateMultipartUpload");
  EXPECT_EQ(NameOfLine("PUT /b/k?partNumber=1&uploadId=u"), "UploadPart");
  EXPECT_EQ(
      NameOfLine("PUT /b/k?partNumber=1&uploadId=u", "x-amz-copy-source: /b/j"),
      "UploadPartCopy");
  EXPECT_EQ(NameOfLine("POST /b/k?uploadId=u"), "CompleteMultipartUpload");
  EXPECT_EQ(NameOfLine("DELETE /b/k?uploadId=u"), "AbortMultipartUpload");
  EXPECT_EQ(NameOfLine("GET /b/k?uploadId=u"), "ListParts");
}

TEST(IdentifyTest, RefusesWhatIsNotServed) {
  EXPECT_EQ(NameOfLine("GET /b/k?acl"), "NotImplemented");
  EXPECT_EQ(NameOfLine("PUT /b/k?retention"), "NotImplemented");
  EXPECT_EQ(NameOfLine("GET /b?versions"), "NotImplemented");
  EXPECT_EQ(NameOfLine("GET /b/k?versionId=3"), "InvalidArgument");
  EXPECT_EQ(NameOfLine("GET /b/k?versionId=null"), "GetObject");
  EXPECT_EQ(
      NameOfLine("PUT /b/k",
                 "x-amz-server-side-encryption-customer-algorithm: AES256"),
      "NotImplemented");
  EXPECT_EQ(NameOfLine("PUT /b/k", "x-amz-server-side-encryption: aws:kms"),
            "PutObject");
  EXPECT_EQ(NameOfLine("PUT /b/k?uploadId=u&partNumber=1",
                       "x-amz-server-side-encryption: aws:kms"),
            "InvalidArgument");
  EXPECT_EQ(NameOfLine("GET /b/k", "x-amz-storage-class: STANDARD"),
            "InvalidArgument");
  EXPECT_EQ(NameOfLine("PATCH /b/k"), "MethodNotAllowed");
  EXPECT_EQ(NameOfLine("POST /b/k"), "MethodNotAllowed");
  EXPECT_EQ(NameOfLine("GET /b/%zz"), "InvalidURI");
  EXPECT_EQ(NameOfLine("PUT /b/" + std::string(1024, 'k')), "PutObject");
  EXPECT_EQ(NameOfLine("PUT /b/" + std::string(1025, 'k')), "KeyTooLongError");
  for (const char* part : {"0", "10001", "-1", "x", ""}) {
    EXPECT_EQ(NameOfLine(std::string("PUT /b/k?uploadId=u&partNumber=") + part),
              "InvalidArgument");
  }
}

TEST(IdentifyTest, KeysAreBytes) {
  const auto operation = IdentifyLine("GET /b//a%2F..%2F%00%ff+%20//");
  ASSERT_TRUE(operation);
  EXPECT_EQ(operation->bucket, "b");
  EXPECT_EQ(operation->key, std::string("/a/../\0\xff+ //", 12));
}

TEST(IdentifyTest, VirtualHostStyle) {
  auto operation = IdentifyLine("GET /x/y", "Host: b.s3.test:99");
  ASSERT_TRUE(operation);
  EXPECT_EQ(operation->bucket, "b");
  EXPECT_EQ(operation->key, "x/y");
  operation = IdentifyLine("GET /x", "Host: dotted.name.localhost");
  ASSERT_TRUE(operation);
  EXPECT_EQ(operation->bucket, "dotted.name");
  // No such bucket: path style.
  operation = IdentifyLine("GET /x/y", "Host: 127.0.0.1:99");
  ASSERT_TRUE(operation);
  EXPECT_EQ(operation->bucket, "x");
}

}  // namespace
}  // namespace ckptfs::s3server
