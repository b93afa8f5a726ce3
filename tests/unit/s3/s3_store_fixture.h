// An S3 store on a scripted endpoint that is not AWS.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/executors.h"
#include "s3/credentials/credentials_provider.h"
#include "store/s3_object_store.h"
#include "unit/s3/scripted_transport.h"

namespace ckptfs {

class S3Store : public ::testing::Test {
 protected:
  static constexpr int kAttempts = 10;

  // `late_effect`: see S3ClientOptions.
  explicit S3Store(
      std::chrono::milliseconds late_effect = std::chrono::milliseconds(0))
      : late_effect_(late_effect) {
    Open("http://host:9");
  }

  // "": AWS.
  void Open(const std::string& endpoint_url) {
    S3ObjectStore::Parts parts;
    parts.executor = std::make_unique<ThreadPool>("test-s3", 1);
    parts.clock = std::make_unique<SystemClock>();
    parts.credentials =
        std::make_unique<StaticCredentials>(Credentials{"AKID", "SECRET", ""});
    auto transport = std::make_unique<ScriptedTransport>();
    transport_ = transport.get();
    parts.transport = std::move(transport);
    S3ClientOptions options;
    options.retry.base = options.retry.throttled_base =
        std::chrono::milliseconds(1);
    options.retry.cap = options.retry.throttled_cap =
        std::chrono::milliseconds(2);
    options.retry.max_attempts = kAttempts;
    options.late_effect = late_effect_;
    store_ = std::make_unique<S3ObjectStore>(
        std::move(parts),
        *Endpoint::Create(endpoint_url, "us-east-1", "bucket", std::nullopt),
        "us-east-1", options);
  }
  void Answer(int status, HttpHeaders headers = {}, std::string body = {}) {
    transport_->Add({status, std::move(headers), std::move(body)});
  }
  static HttpHeaders Object(const std::string& etag, const std::string& size,
                            const std::string& nonce = "") {
    HttpHeaders headers{{"ETag", "\"" + etag + "\""}, {"Content-Length", size}};
    if (!nonce.empty()) {
      headers.Set("x-amz-meta-" + std::string(kNonceMetadataName), nonce);
    }
    return headers;
  }
  const std::vector<ScriptedTransport::Seen>& seen() const {
    return transport_->seen;
  }

  const std::chrono::milliseconds late_effect_;
  ScriptedTransport* transport_ = nullptr;
  std::unique_ptr<S3ObjectStore> store_;
};

}  // namespace ckptfs
