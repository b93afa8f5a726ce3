// S3Request: one S3 call before it is signed, as the call families build it.
#pragma once

#include <ckptfs/object_store.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "http/http_transport.h"

namespace ckptfs {

class RangeDownload;

// What a second execution of the request does.
enum class Idempotency {
  // The same as the first. Also CreateMultipartUpload: a lost reply leaves an
  // upload that `gc` removes, no wrong object.
  kReplay,
  // It fails where the first one succeeded (a condition that now does not
  // hold, an upload that is gone), or the object carries a nonce by which its
  // writer knows it again: a failure after a lost reply is settled by looking
  // at the object.
  kReconcile,
};

struct S3Request {
  std::string operation;  // for messages: "put", "complete upload of", ...
  std::string method;
  std::string key;                                         // empty: the bucket
  std::vector<std::pair<std::string, std::string>> query;  // not encoded
  HttpHeaders headers;
  Payload body;
  Idempotency idempotency = Idempotency::kReplay;
  // Calls that send status 200 first and the outcome later, in the body
  // (CompleteMultipartUpload, CopyObject, UploadPartCopy): the root element of
  // a success. Anything else in a 200 is a failure.
  std::string expected_root;
  // The body of a success is empty: an Error document in a 200 is a failure.
  bool answers_empty = false;
  // A 200 without an ETag tells of no object.
  bool needs_etag = false;
  // A success without a Content-Length tells no size (HeadObject).
  bool needs_length = false;
  // The server may be silent for minutes before it answers.
  bool slow_answer = false;
  // Makes an object (or an upload that will be one): carries what new objects
  // are given, such as encryption.
  bool creates_object = false;
  // A write with If-Match or If-None-Match.
  bool conditional_write = false;
  // The request carries If-Match, so an absent object is a failed condition.
  bool requires_existing = false;
  // GetObject only: where the bytes go, over all attempts.
  std::shared_ptr<RangeDownload> download;
};

}  // namespace ckptfs
