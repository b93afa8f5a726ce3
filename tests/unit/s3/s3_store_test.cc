// The S3 store on a scripted endpoint: what real servers do that AWS does not.
#include <gtest/gtest.h>

#include "common/executors.h"
#include "s3/credentials/credentials_provider.h"
#include "store/s3_object_store.h"
#include "unit/s3/scripted_transport.h"

namespace ckptfs {
namespace {

using std::chrono::milliseconds;

class S3Store : public ::testing::Test {
 protected:
  S3Store() {
    S3ObjectStore::Parts parts;
    parts.executor = std::make_unique<ThreadPool>("test-s3", 1);
    parts.clock = std::make_unique<SystemClock>();
    parts.credentials = std::make_unique<StaticCredentials>(
        Credentials{"AKID", "SECRET", ""});
    auto transport = std::make_unique<ScriptedTransport>();
    transport_ = transport.get();
    parts.transport = std::move(transport);
    S3ClientOptions options;
    options.retry.base = options.retry.throttled_base = milliseconds(1);
    options.retry.cap = milliseconds(2);
    store_ = std::make_unique<S3ObjectStore>(
        std::move(parts),
        *Endpoint::Create("http://host:9", "us-east-1", "bucket", std::nullopt),
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

  ScriptedTransport* transport_ = nullptr;
  std::unique_ptr<S3ObjectStore> store_;
};

TEST_F(S3Store, APinnedReadBeyondTheEndIsCheckedWhereTheServerDoesNot) {
  const auto read = [this] {
    auto buffer = std::make_shared<std::string>(5, '-');
    GetRequest get;
    get.key = "k";
    get.offset = 50;
    get.if_match = ETag{"\"e1\""};
    get.destination.segments = {std::as_writable_bytes(std::span(*buffer))};
    get.destination.owner = buffer;
    return store_->Get(std::move(get)).Get();
  };
  Answer(416);
  Answer(200, Object("e2", "10"));
  auto replaced = read();
  ASSERT_FALSE(replaced.has_value());
  EXPECT_EQ(replaced.error().code(), ErrorCode::kPreconditionFailed);
  Answer(416);
  Answer(200, Object("e1", "10"));
  EXPECT_TRUE(read().has_value());
}

}  // namespace
}  // namespace ckptfs
