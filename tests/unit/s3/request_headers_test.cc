// What options add to requests, and on which of them.
#include "s3/request_headers.h"

#include <gtest/gtest.h>

#include "common/executors.h"
#include "store/s3_object_store.h"
#include "unit/s3/scripted_transport.h"

namespace ckptfs {
namespace {

TEST(RequestHeaders, WrongOptionsAreNamed) {
  const auto refused = [](const char* name, auto set) {
    S3StoreOptions options;
    set(options);
    const auto headers = RequestHeadersOf(options);
    ASSERT_FALSE(headers.has_value()) << name;
    EXPECT_EQ(headers.error().code(), ErrorCode::kInvalidArgument);
    EXPECT_NE(headers.error().message().find(name), std::string::npos);
  };
  using O = S3StoreOptions;
  refused("requester_pays",
          [](O& o) { o.requester_pays = o.unsigned_requests = true; });
  refused("storage_class", [](O& o) { o.storage_class = "A\r\nX-Evil: 1"; });
  refused("sse", [](O& o) { o.sse = "aes256"; });
  refused("sse", [](O& o) { o.sse = "AES256\r\nX-Evil: 1"; });
  refused("sse_kms_key_id", [](O& o) { o.sse_kms_key_id = "k"; });
  refused("sse_kms_key_id", [](O& o) {
    o.sse = "AES256";
    o.sse_kms_key_id = "k";
  });
  refused("sse_kms_key_id", [](O& o) {
    o.sse = "aws:kms";
    o.sse_kms_key_id = "k\r\nX-Evil: 1";
  });
  refused("sse_bucket_key", [](O& o) {
    o.sse = "aws:kms:dsse";
    o.sse_bucket_key = true;
  });
}

class Requests : public ::testing::Test {
 protected:
  void Open(std::unique_ptr<CredentialsProvider> credentials,
            const S3StoreOptions& options) {
    S3ObjectStore::Parts parts;
    parts.executor = std::make_unique<ThreadPool>("test-s3", 1);
    parts.clock = std::make_unique<SystemClock>();
    parts.credentials = std::move(credentials);
    auto transport = std::make_unique<ScriptedTransport>();
    transport_ = transport.get();
    parts.transport = std::move(transport);
    S3ClientOptions client;
    client.retry.max_attempts = 1;
    client.headers = *RequestHeadersOf(options);
    store_ = std::make_unique<S3ObjectStore>(
        std::move(parts),
        *Endpoint::Create("http://host:9", "us-east-1", "bucket", std::nullopt),
        "us-east-1", client);
  }
  // The headers of one request; what is answered does not matter.
  template <typename Request, typename Reply>
  HttpHeaders Sent(Future<Reply> (ObjectStore::*call)(Request),
                   Request request) {
    const std::size_t before = transport_->seen.size();
    (store_.get()->*call)(std::move(request)).Get();
    EXPECT_GT(transport_->seen.size(), before);
    return transport_->seen.at(before).headers;
  }
  std::vector<HttpHeaders> Creations() {
    PutRequest put;
    put.key = "k";
    CreateMultipartRequest create;
    create.key = "k";
    CopyRequest copy;
    copy.source_key = "s";
    copy.key = "k";
    return {Sent(&ObjectStore::Put, put),
            Sent(&ObjectStore::CreateMultipart, create),
            Sent(&ObjectStore::Copy, copy)};
  }
  std::vector<HttpHeaders> Others() {
    UploadPartRequest part;
    part.upload = {"k", "id"};
    part.part_number = 1;
    UploadPartCopyRequest part_copy;
    part_copy.upload = {"k", "id"};
    part_copy.part_number = 1;
    part_copy.source_key = "s";
    part_copy.length = 5;
    CompleteMultipartRequest complete;
    complete.upload = {"k", "id"};
    complete.parts = {{1, ETag{"\"e\""}, 5}};
    auto buffer = std::make_shared<std::string>(5, '-');
    GetRequest get;
    get.key = "k";
    get.destination.segments = {std::as_writable_bytes(std::span(*buffer))};
    get.destination.owner = buffer;
    AbortMultipartRequest abort;
    abort.upload = {"k", "id"};
    ListPartsRequest list_parts;
    list_parts.upload = {"k", "id"};
    return {Sent(&ObjectStore::Head, HeadRequest{"k", {}}),
            Sent(&ObjectStore::Get, get),
            Sent(&ObjectStore::UploadPart, part),
            Sent(&ObjectStore::UploadPartCopy, part_copy),
            Sent(&ObjectStore::CompleteMultipart, complete),
            Sent(&ObjectStore::AbortMultipart, abort),
            Sent(&ObjectStore::ListParts, list_parts),
            Sent(&ObjectStore::ListMultipartUploads, ListUploadsRequest()),
            Sent(&ObjectStore::Delete, DeleteRequest{"k", {}}),
            Sent(&ObjectStore::DeleteMany, DeleteManyRequest{{"k"}, {}}),
            Sent(&ObjectStore::List, ListRequest())};
  }

  ScriptedTransport* transport_ = nullptr;
  std::unique_ptr<S3ObjectStore> store_;
};

std::unique_ptr<CredentialsProvider> Keys() {
  return std::make_unique<StaticCredentials>(Credentials{"A", "S", ""});
}

TEST_F(Requests, WhatNewObjectsAreGivenTravelsOnlyWithWhatMakesThem) {
  S3StoreOptions options;
  options.storage_class = "STANDARD_IA";
  options.sse = "aws:kms";
  options.sse_kms_key_id = "arn:aws:kms:us-east-1:1:key/a-b";
  options.sse_bucket_key = true;
  Open(Keys(), options);
  for (const HttpHeaders& headers : Creations()) {
    EXPECT_EQ(headers.Get("x-amz-storage-class"), "STANDARD_IA");
    EXPECT_EQ(headers.Get("x-amz-server-side-encryption"), "aws:kms");
    EXPECT_EQ(headers.Get("x-amz-server-side-encryption-aws-kms-key-id"),
              options.sse_kms_key_id);
    EXPECT_EQ(headers.Get("x-amz-server-side-encryption-bucket-key-enabled"),
              "true");
    EXPECT_NE(headers.Get("Authorization")
                  .find("x-amz-server-side-encryption-bucket-key-enabled;"
                        "x-amz-storage-class"),
              std::string_view::npos);
  }
  for (const HttpHeaders& headers : Others()) {
    EXPECT_FALSE(headers.Find("x-amz-storage-class").has_value());
    EXPECT_FALSE(headers.Find("x-amz-server-side-encryption").has_value());
    EXPECT_FALSE(headers.Find("x-amz-request-payer").has_value());
  }
}

TEST_F(Requests, WhoPaysIsSaidAndSignedOnAllOfThem) {
  S3StoreOptions options;
  options.requester_pays = true;
  Open(Keys(), options);
  for (const auto& group : {Creations(), Others()}) {
    for (const HttpHeaders& headers : group) {
      EXPECT_EQ(headers.Get("x-amz-request-payer"), "requester");
      EXPECT_NE(headers.Get("Authorization").find("x-amz-request-payer"),
                std::string_view::npos);
    }
  }
}

TEST_F(Requests, AnonymousOnesCarryNothingOfASignature) {
  Open(std::make_unique<NoCredentials>(), {});
  for (const auto& group : {Creations(), Others()}) {
    for (const HttpHeaders& headers : group) {
      for (const char* name :
           {"Authorization", "x-amz-date", "x-amz-content-sha256",
            "x-amz-security-token"}) {
        EXPECT_FALSE(headers.Find(name).has_value()) << name;
      }
    }
  }
}

}  // namespace
}  // namespace ckptfs
