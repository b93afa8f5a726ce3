// S3Operations: what each S3 operation does and answers. Thread-safe; no I/O,
// never blocks but for the table's lock.
#pragma once

#include <string>

#include "s3server/http_message.h"
#include "s3server/object_table.h"
#include "s3server/operation.h"
#include "s3server/s3_error.h"

namespace ckptfs::s3server {

// A request that was identified, authenticated and received.
struct Call {
  const Operation& operation;
  const Request& request;
  std::string body_etag;  // "": the table makes one
  SystemTime now;
};

class S3Operations {
 public:
  struct Options {
    std::string region;
    bool deny_list = false;
  };
  S3Operations(ObjectTable& table, Options options)
      : table_(table), options_(std::move(options)) {}

  Reply<Response> Execute(const Call& call) const;

 private:
  // object_operations.cc
  Reply<Response> GetObject(const Call& call) const;
  Reply<Response> PutObject(const Call& call) const;
  Reply<Response> CopyObject(const Call& call) const;
  Reply<Response> DeleteObject(const Call& call) const;
  Reply<ObjectPtr> CopySource(const Call& call) const;
  // tagging_operations.cc
  Reply<Response> GetObjectTagging(const Call& call) const;
  Reply<Response> PutObjectTagging(const Call& call) const;
  Reply<Response> DeleteObjectTagging(const Call& call) const;
  // bucket_operations.cc
  Reply<Response> ListBuckets() const;
  Reply<Response> HeadBucket(const Call& call) const;
  Reply<Response> CreateBucket(const Call& call) const;
  Reply<Response> DeleteBucket(const Call& call) const;
  Reply<Response> GetBucketLocation(const Call& call) const;
  Reply<Response> ListObjects(const Call& call) const;  // both versions
  Reply<Response> DeleteObjects(const Call& call) const;
  // multipart_operations.cc
  Reply<Response> CreateMultipartUpload(const Call& call) const;
  Reply<Response> UploadPart(const Call& call) const;
  Reply<Response> UploadPartCopy(const Call& call) const;
  Reply<Response> CompleteMultipartUpload(const Call& call) const;
  Reply<Response> AbortMultipartUpload(const Call& call) const;
  Reply<Response> ListParts(const Call& call) const;
  Reply<Response> ListMultipartUploads(const Call& call) const;

  ObjectTable& table_;
  const Options options_;
};

// What the three files share.
Response XmlResponse(std::string document);
Conditions ConditionsOf(const Request& request);
// The metadata headers and the tags of the request; MetadataTooLarge,
// InvalidTag.
Reply<Metadata> MetadataOf(const Request& request);
// The tags of x-amz-tagging, "name=value&..." in query encoding; InvalidTag.
Reply<std::map<std::string, std::string>> TagsOf(const Request& request);
// max-keys and its like: `fallback` if absent, at most 1000.
Reply<std::size_t> LimitOf(const Request& request, std::string_view name);
// url-encodes if the request asks for encoding-type=url.
std::string ListedName(const Request& request, std::string_view name);

}  // namespace ckptfs::s3server
