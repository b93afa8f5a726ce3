// Requests built and replies read, family by family.
#include <gtest/gtest.h>

#include "s3/copy_calls.h"
#include "s3/delete_calls.h"
#include "s3/list_calls.h"
#include "s3/multipart_calls.h"
#include "s3/object_calls.h"
#include "s3/sigv4.h"

namespace ckptfs {
namespace {

HttpResponse Reply(std::string body) {
  HttpResponse r;
  r.status = 200;
  r.body = std::move(body);
  return r;
}

std::string BodyOf(const S3Request& request) {
  std::string out;
  for (const auto& s : request.body.segments) {
    out.append(reinterpret_cast<const char*>(s.data()), s.size());
  }
  return out;
}

TEST(ObjectCalls, AttributesTravelInHeaders) {
  PutRequest put;
  put.key = "k";
  put.attributes.metadata = {{"file-mtime", "1"}, {kNonceMetadataName, "n"}};
  put.condition.if_none_match = true;
  const auto r = BuildPut(put);
  ASSERT_TRUE(r.has_value());
  EXPECT_EQ(r->headers.Get("x-amz-meta-file-mtime"), "1");
  EXPECT_EQ(r->headers.Get("x-amz-meta-ckptfs-nonce"), "n");
  EXPECT_EQ(r->headers.Get("content-type"), "binary/octet-stream");
  EXPECT_EQ(r->headers.Get("if-none-match"), "*");
  EXPECT_EQ(r->idempotency, Idempotency::kReconcile);
}

TEST(ObjectCalls, HeadersCannotBeSmuggledIn) {
  const std::pair<std::string, std::string> bad[] = {
      {"a", "x\r\nX-Evil: 1"}, {"a b", "x"}, {"", "x"}, {"a:b", "x"}};
  for (const auto& [name, value] : bad) {
    PutRequest put;
    put.key = "k";
    put.attributes.metadata = {{name, value}};
    EXPECT_EQ(BuildPut(put).error().code(), ErrorCode::kInvalidArgument);
  }
  PutRequest put;
  put.key = "k";
  put.attributes.content_type = "a\nb";
  EXPECT_EQ(BuildPut(put).error().code(), ErrorCode::kInvalidArgument);
}

TEST(ObjectCalls, InfoFromHeaders) {
  const ObjectInfo info = ParseObjectHeaders(
      "k", {{"content-length", "5"},
            {"ETag", "\"e\""},
            {"X-Amz-Meta-File-Mtime", "7"},
            {"x-amz-version-id", "null"},
            {"last-modified", "Fri, 24 May 2013 00:00:00 GMT"},
            {"x-amz-storage-class", "GLACIER"}});
  EXPECT_EQ(info.size, 5u);
  EXPECT_EQ(info.etag.value, "\"e\"");
  EXPECT_EQ(info.metadata.at("file-mtime"), "7");
  EXPECT_EQ(info.version_id, "");
  EXPECT_EQ(info.storage_class, "GLACIER");
  EXPECT_EQ(FormatAmzDate(info.last_modified), "20130524T000000Z");
}

TEST(ObjectCalls, ETagsHaveQuotes) {
  EXPECT_EQ(ParseETag("abc").value, "\"abc\"");
  EXPECT_EQ(ParseETag("\"abc\"").value, "\"abc\"");
  EXPECT_TRUE(ParseETag("").empty());
}

TEST(MultipartCalls, CompleteListsItsParts) {
  CompleteMultipartRequest request;
  request.upload = {"k", "id"};
  request.parts = {{1, ETag{"\"a\""}, 5}, {7, ETag{"\"b\""}, 5}};
  const auto r = BuildCompleteMultipart(request);
  ASSERT_TRUE(r.has_value());
  EXPECT_EQ(BodyOf(*r),
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>"
            "&quot;a&quot;</ETag></Part><Part><PartNumber>7</PartNumber><ETag>"
            "&quot;b&quot;</ETag></Part></CompleteMultipartUpload>");
  EXPECT_EQ(r->idempotency, Idempotency::kReconcile);

  request.parts = {{2, ETag{"\"a\""}, 5}, {1, ETag{"\"b\""}, 5}};
  EXPECT_EQ(BuildCompleteMultipart(request).error().code(),
            ErrorCode::kInvalidArgument);
  request.parts.clear();
  EXPECT_EQ(BuildCompleteMultipart(request).error().code(),
            ErrorCode::kInvalidArgument);
}

TEST(MultipartCalls, PartNumbersAreChecked) {
  for (const int number : {0, -1, 10001}) {
    UploadPartRequest part;
    part.upload = {"k", "id"};
    part.part_number = number;
    EXPECT_EQ(BuildUploadPart(part).error().code(),
              ErrorCode::kInvalidArgument);
  }
}

TEST(MultipartCalls, ReadsPages) {
  const auto parts = ParseListParts(
      Reply("<ListPartsResult><IsTruncated>true</IsTruncated>"
            "<NextPartNumberMarker>3</NextPartNumberMarker><Part><PartNumber>3"
            "</PartNumber><ETag>\"e\"</ETag><Size>10</Size></Part></"
            "ListPartsResult>"));
  ASSERT_TRUE(parts.has_value());
  ASSERT_EQ(parts->parts.size(), 1u);
  EXPECT_EQ(parts->parts[0].size, 10u);
  EXPECT_EQ(parts->next_part_number_marker, 3);

  bool unclear = true;
  const auto uploads = ParseListUploads(
      Reply("<ListMultipartUploadsResult><EncodingType>url</EncodingType>"
            "<Upload><Key>a+b%2F</Key><UploadId>u</UploadId><Initiated>"
            "2013-05-24T00:00:00Z</Initiated></Upload>"
            "</ListMultipartUploadsResult>"),
      &unclear);
  ASSERT_TRUE(uploads.has_value());
  EXPECT_EQ(uploads->uploads[0].upload.key, "a b/");
  EXPECT_FALSE(uploads->truncated);
  EXPECT_FALSE(unclear);

  EXPECT_EQ(ParseListParts(Reply("<ListPartsResult><Part/></ListPartsResult>"))
                .error()
                .code(),
            ErrorCode::kDataLoss);
  EXPECT_FALSE(ParseCreateMultipart("k", Reply("<X/>")).has_value());
}

TEST(ListCalls, ReadsAPage) {
  const auto page = ParseList(
      Reply("<ListBucketResult xmlns=\"urn\"><EncodingType>url</EncodingType>"
            "<IsTruncated>true</IsTruncated><NextContinuationToken>t2"
            "</NextContinuationToken><Contents><Key>a%0Ab+c</Key><Size>9</Size>"
            "<ETag>&quot;e&quot;</ETag><LastModified>2013-05-24T00:00:00.000Z"
            "</LastModified></Contents><CommonPrefixes><Prefix>d%2F</Prefix>"
            "</CommonPrefixes></ListBucketResult>"),
      "t1");
  ASSERT_TRUE(page.has_value());
  EXPECT_EQ(page->objects[0].key, "a\nb c");
  EXPECT_EQ(page->objects[0].etag.value, "\"e\"");
  EXPECT_EQ(page->common_prefixes, std::vector<std::string>{"d/"});
  EXPECT_EQ(page->next_continuation_token, "t2");
}

TEST(ListCalls, KeysAreTakenAsTheyAreWhereTheServerDoesNotEncode) {
  const auto page = ParseList(
      Reply("<ListBucketResult><Contents><Key>a+b%20</Key><Size>1</Size>"
            "</Contents></ListBucketResult>"),
      "");
  ASSERT_TRUE(page.has_value());
  EXPECT_EQ(page->objects[0].key, "a+b%20");
}

TEST(ListCalls, AListingThatWouldLoopIsRefused) {
  const char* truncated =
      "<ListBucketResult><IsTruncated>true</IsTruncated>"
      "<NextContinuationToken>t1</NextContinuationToken></ListBucketResult>";
  EXPECT_TRUE(ParseList(Reply(truncated), "t0").has_value());
  EXPECT_EQ(ParseList(Reply(truncated), "t1").error().code(),
            ErrorCode::kDataLoss);
  EXPECT_FALSE(ParseList(Reply("<html/>"), "").has_value());
}

TEST(CopyCalls, TheSourceIsEncoded) {
  CopyRequest copy;
  copy.source_key = "a b/c+";
  copy.key = "t";
  copy.source_if_match = ETag{"\"e\""};
  const auto r = BuildCopy(copy, "bucket");
  ASSERT_TRUE(r.has_value());
  EXPECT_EQ(r->headers.Get("x-amz-copy-source"), "/bucket/a%20b/c%2B");
  EXPECT_EQ(r->headers.Get("x-amz-copy-source-if-match"), "\"e\"");
  EXPECT_EQ(r->headers.Get("x-amz-metadata-directive"), "COPY");
}

TEST(CopyCalls, PartRangesAreInclusive) {
  UploadPartCopyRequest copy;
  copy.upload = {"t", "id"};
  copy.part_number = 2;
  copy.source_key = "s";
  copy.offset = 100;
  copy.length = 50;
  const auto r = BuildUploadPartCopy(copy, "bucket", false);
  ASSERT_TRUE(r.has_value());
  EXPECT_EQ(r->headers.Get("x-amz-copy-source-range"), "bytes=100-149");
  copy.length = 0;
  EXPECT_FALSE(BuildUploadPartCopy(copy, "bucket", false).has_value());
}

TEST(DeleteCalls, KeysAreEscapedAndTheBodyIsDigested) {
  const std::vector<std::string> keys = {"a&b", "c\rd"};
  const S3Request r = BuildDeleteMany(keys);
  EXPECT_EQ(BodyOf(r),
            "<Delete><Quiet>true</Quiet><Object><Key>a&amp;b</Key></Object>"
            "<Object><Key>c&#13;d</Key></Object></Delete>");
  EXPECT_EQ(r.headers.Get("Content-MD5").size(), 24u);
  const auto failures = ParseDeleteMany(
      Reply("<DeleteResult><Error><Key>k</Key><Code>AccessDenied</Code>"
            "<Message>m</Message></Error></DeleteResult>"));
  ASSERT_TRUE(failures.has_value());
  ASSERT_EQ(failures->size(), 1u);
  EXPECT_EQ((*failures)[0].s3_code, "AccessDenied");
}

}  // namespace
}  // namespace ckptfs
