// The S3 store against a server that fails on demand.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/executors.h"
#include "conformance/server_process.h"
#include "s3/credentials/credentials_provider.h"
#include "store/s3_object_store.h"

namespace ckptfs::test {
namespace {

using std::chrono::milliseconds;

std::string Pattern(std::size_t size) {
  std::string out(size, '\0');
  std::uint64_t state = 1;
  for (char& c : out) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    c = static_cast<char>(state >> 56);
  }
  return out;
}

class S3Faults : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (ServerProgram().empty()) return;
    server_ = std::make_unique<ServerProcess>();
  }
  static void TearDownTestSuite() { server_.reset(); }

  void SetUp() override {
    ASSERT_NE(server_, nullptr) << "s3server was not built";
    ASSERT_TRUE(server_->started());
    server_->Post("clear");
    server_->Post("reset-stats");
    store_ = Open();
  }

  // Short waits, so that a test shows a time-out in a fraction of a second.
  static std::unique_ptr<ObjectStore> Open() {
    S3ClientOptions options;
    options.retry.base = milliseconds(5);
    options.retry.throttled_base = milliseconds(5);
    options.retry.cap = options.retry.throttled_cap = milliseconds(50);
    options.retry.max_attempts = 10;
    options.late_effect = milliseconds(0);
    options.get_first_byte_timeout = milliseconds(500);
    options.put_first_byte_timeout = milliseconds(500);
    options.stall_timeout = milliseconds(500);
    S3ObjectStore::Parts parts;
    parts.executor = std::make_unique<ThreadPool>("test-s3", 2);
    parts.clock = std::make_unique<SystemClock>();
    parts.credentials = std::make_unique<StaticCredentials>(
        Credentials{"test", "testtesttest", ""});
    parts.transport = *CurlTransport::Create({2, 8, ""});
    return std::make_unique<S3ObjectStore>(
        std::move(parts),
        *Endpoint::Create(server_->url(), "us-east-1", "bucket", std::nullopt),
        "us-east-1", options);
  }

  static Payload PayloadOf(std::string bytes) {
    auto owner = std::make_shared<const std::string>(std::move(bytes));
    Payload payload;
    payload.segments = {std::as_bytes(std::span(*owner))};
    payload.owner = owner;
    return payload;
  }
  Result<PutResult> Put(const std::string& key, const std::string& bytes,
                        WriteCondition condition = {},
                        const std::string& nonce = "") {
    PutRequest put;
    put.key = key;
    put.payload = PayloadOf(bytes);
    put.condition = std::move(condition);
    if (!nonce.empty()) put.attributes.metadata[kNonceMetadataName] = nonce;
    return store_->Put(std::move(put)).Get();
  }
  Future<GetResult> StartGet(const std::string& key,
                             std::shared_ptr<std::string> buffer,
                             RequestOptions options = {}) {
    GetRequest get;
    get.key = key;
    get.destination.segments = {std::as_writable_bytes(std::span(*buffer))};
    get.destination.owner = std::move(buffer);
    get.options = std::move(options);
    return store_->Get(std::move(get));
  }
  Result<std::string> Read(const std::string& key, std::size_t size) {
    auto buffer = std::make_shared<std::string>(size, '-');
    auto got = StartGet(key, buffer).Get();
    if (!got.has_value()) return Fail(got.error());
    return buffer->substr(0, got->bytes);
  }
  // An upload of one part, ready to be completed.
  CompleteMultipartRequest Prepare(const std::string& key,
                                   const std::string& bytes,
                                   const std::string& nonce) {
    CreateMultipartRequest create;
    create.key = key;
    create.attributes.metadata[kNonceMetadataName] = nonce;
    auto upload = store_->CreateMultipart(std::move(create)).Get();
    EXPECT_TRUE(upload.has_value());
    UploadPartRequest part;
    part.upload = *upload;
    part.part_number = 1;
    part.payload = PayloadOf(bytes);
    auto uploaded = store_->UploadPart(std::move(part)).Get();
    EXPECT_TRUE(uploaded.has_value());
    CompleteMultipartRequest complete;
    complete.upload = *upload;
    complete.parts = {*uploaded};
    complete.nonce = nonce;
    return complete;
  }

  static std::unique_ptr<ServerProcess> server_;
  std::unique_ptr<ObjectStore> store_;
};

std::unique_ptr<ServerProcess> S3Faults::server_;

TEST_F(S3Faults, SlowDownsPass) {
  server_->Post("fault?op=PutObject&action=slow_down&count=4");
  auto put = Put("slow", "bytes");
  ASSERT_TRUE(put.has_value()) << put.error().ToString();
  server_->Post("fault?op=GetObject&action=fail&status=500&count=3");
  EXPECT_EQ(Read("slow", 10).value_or("failed"), "bytes");
}

TEST_F(S3Faults, EndlessSlowDownIsReported) {
  server_->Post("fault?op=PutObject&action=slow_down&count=-1");
  auto put = Put("slow", "bytes");
  ASSERT_FALSE(put.has_value());
  EXPECT_EQ(put.error().code(), ErrorCode::kUnavailable);
  EXPECT_EQ(put.error().s3_code(), "SlowDown");
}

TEST_F(S3Faults, AResetInTheBodyIsResumed) {
  const std::string bytes = Pattern(5'000'000);
  ASSERT_TRUE(Put("big", bytes).has_value());
  server_->Post("reset-stats");
  server_->Post("fault?op=GetObject&action=reset&at_byte=1000000");
  server_->Post("fault?op=GetObject&action=truncate&at_byte=2000000");
  auto read = Read("big", bytes.size());
  ASSERT_TRUE(read.has_value()) << read.error().ToString();
  EXPECT_TRUE(*read == bytes);
}

TEST_F(S3Faults, AResetOfAnUploadIsRepeated) {
  const std::string bytes = Pattern(5'000'000);
  server_->Post(
      "fault?op=PutObject&action=reset&side=request&at_byte=100000&count=2");
  ASSERT_TRUE(Put("up", bytes).has_value());
  auto read = Read("up", bytes.size());
  EXPECT_TRUE(read.value_or("") == bytes);
}

TEST_F(S3Faults, AWrongRangeIsNotAccepted) {
  ASSERT_TRUE(Put("range", "0123456789").has_value());
  server_->Post("fault?op=GetObject&action=corrupt_range");
  EXPECT_EQ(Read("range", 10).value_or("failed"), "0123456789");
  server_->Post("fault?op=GetObject&action=corrupt_range&count=-1");
  auto read = Read("range", 10);
  ASSERT_FALSE(read.has_value());
  EXPECT_EQ(read.error().code(), ErrorCode::kDataLoss);
}

TEST_F(S3Faults, AnObjectReplacedDuringAReadIsStale) {
  const std::string bytes = Pattern(3'000'000);
  ASSERT_TRUE(Put("swap", bytes).has_value());
  // The first response breaks; the second attempt waits at the server until
  // the object was replaced.
  server_->Post("fault?op=GetObject&action=reset&at_byte=1000000");
  server_->Post("fault?op=GetObject&action=hold&when=before");
  auto buffer = std::make_shared<std::string>(bytes.size(), '-');
  Future<GetResult> reading = StartGet("swap", buffer);
  server_->Get("wait-held?count=1");
  ASSERT_TRUE(Put("swap", "another object").has_value());
  server_->Post("release");
  auto got = std::move(reading).Get();
  ASSERT_FALSE(got.has_value());
  EXPECT_EQ(got.error().code(), ErrorCode::kStale) << got.error().ToString();
}

TEST_F(S3Faults, ALostReplyOfAConditionalPutIsSettled) {
  WriteCondition absent;
  absent.if_none_match = true;
  server_->Post("fault?op=PutObject&key=settled&action=lose_reply");
  auto put = Put("settled", "mine", absent, "nonce-1");
  ASSERT_TRUE(put.has_value()) << put.error().ToString();
  auto head = store_->Head({"settled", {}}).Get();
  ASSERT_TRUE(head.has_value());
  EXPECT_EQ(put->etag, head->etag);

  // The object is another writer's: the condition really failed.
  server_->Post("fault?op=PutObject&key=settled&action=fail&status=500");
  auto lost = Put("settled", "late", absent, "nonce-2");
  ASSERT_FALSE(lost.has_value());
  EXPECT_EQ(lost.error().code(), ErrorCode::kPreconditionFailed);
  EXPECT_EQ(Read("settled", 100).value_or("failed"), "mine");
}

TEST_F(S3Faults, ALostReplyOfCompleteIsSettled) {
  for (const bool conditional : {false, true}) {
    const std::string key = conditional ? "complete-if" : "complete";
    CompleteMultipartRequest complete = Prepare(key, "content", "nonce-3");
    complete.condition.if_none_match = conditional;
    server_->Post("fault?op=CompleteMultipartUpload&action=lose_reply");
    auto done = store_->CompleteMultipart(complete).Get();
    ASSERT_TRUE(done.has_value()) << done.error().ToString();
    auto head = store_->Head({key, {}}).Get();
    ASSERT_TRUE(head.has_value());
    EXPECT_EQ(done->etag, head->etag);
    EXPECT_EQ(Read(key, 100).value_or("failed"), "content");
  }
}

TEST_F(S3Faults, ACompleteThatNeverHappenedIsNotClaimed) {
  CompleteMultipartRequest complete = Prepare("aborted", "content", "nonce-4");
  ASSERT_TRUE(Put("aborted", "another writer's").has_value());
  server_->Post("fault?op=CompleteMultipartUpload&action=fail&status=500");
  ASSERT_TRUE(store_->AbortMultipart({complete.upload, {}}).Get().has_value());
  auto done = store_->CompleteMultipart(complete).Get();
  ASSERT_FALSE(done.has_value());
  EXPECT_EQ(done.error().code(), ErrorCode::kConflict);
  EXPECT_EQ(Read("aborted", 100).value_or("failed"), "another writer's");
}

TEST_F(S3Faults, AnErrorInsideA200IsRepeated) {
  CompleteMultipartRequest complete = Prepare("e200", "content", "nonce-5");
  server_->Post("fault?op=CompleteMultipartUpload&action=error200&count=2");
  auto done = store_->CompleteMultipart(complete).Get();
  ASSERT_TRUE(done.has_value()) << done.error().ToString();
  EXPECT_EQ(Read("e200", 100).value_or("failed"), "content");

  server_->Post("fault?op=CopyObject&action=error200");
  CopyRequest copy;
  copy.source_key = "e200";
  copy.key = "e200-copy";
  auto copied = store_->Copy(copy).Get();
  ASSERT_TRUE(copied.has_value()) << copied.error().ToString();
  EXPECT_EQ(Read("e200-copy", 100).value_or("failed"), "content");
}

TEST_F(S3Faults, AServerThatDoesNotAnswerIsAskedAgain) {
  ASSERT_TRUE(Put("stall", "bytes").has_value());
  server_->Post("fault?op=GetObject&action=hold&count=1");
  EXPECT_EQ(Read("stall", 10).value_or("failed"), "bytes");
}

TEST_F(S3Faults, TheDeadlineHoldsWhileARequestIsInFlight) {
  ASSERT_TRUE(Put("deadline", "bytes").has_value());
  server_->Post("fault?op=GetObject&action=hold&count=-1");
  RequestOptions options;
  options.deadline = milliseconds(300);
  auto got =
      StartGet("deadline", std::make_shared<std::string>(5, '-'), options)
          .Get();
  ASSERT_FALSE(got.has_value());
  EXPECT_EQ(got.error().code(), ErrorCode::kDeadlineExceeded);
}

TEST_F(S3Faults, ACancelledReadLetsGoOfItsMemory) {
  ASSERT_TRUE(Put("cancel", "bytes").has_value());
  server_->Post("fault?op=GetObject&action=hold&count=-1");
  std::stop_source stop;
  RequestOptions options;
  options.stop = stop.get_token();
  auto buffer = std::make_shared<std::string>(5, '-');
  Future<GetResult> reading = StartGet("cancel", buffer, options);
  server_->Get("wait-held?count=1");
  EXPECT_GT(buffer.use_count(), 1);
  stop.request_stop();
  auto got = std::move(reading).Get();
  ASSERT_FALSE(got.has_value());
  EXPECT_EQ(got.error().code(), ErrorCode::kCancelled);
  EXPECT_EQ(buffer.use_count(), 1);
}

TEST_F(S3Faults, ClosingTheStoreEndsWhatIsInFlight) {
  ASSERT_TRUE(Put("close", "bytes").has_value());
  server_->Post("fault?op=GetObject&action=hold&count=-1");
  std::vector<Future<GetResult>> reading;
  // More than there are connections, so that some are still queued.
  for (int i = 0; i < 20; ++i) {
    reading.push_back(StartGet("close", std::make_shared<std::string>(5, '-')));
  }
  server_->Get("wait-held?count=8");
  store_.reset();
  for (auto& f : reading) {
    EXPECT_EQ(std::move(f).Get().error().code(), ErrorCode::kCancelled);
  }
}

// First it turns everything down, then nobody listens, then it is back on its
// port, empty. [S-41]
TEST(S3Restart, FailsNoSave) {
  ASSERT_FALSE(ServerProgram().empty()) << "s3server was not built";
  auto server = std::make_unique<ServerProcess>();
  ASSERT_TRUE(server->started());
  const std::string url = server->url();
  S3StoreOptions options;
  options.endpoint_url = url;
  options.bucket = "bucket";
  options.access_key_id = "test";
  options.secret_access_key = "testtesttest";
  auto store = OpenS3Store(options);
  ASSERT_TRUE(store.has_value());
  server->Post("fault?op=PutObject&action=fail&status=503&count=4");
  server->Post("fault?op=PutObject&action=lose_reply&count=8");
  server->Post("fault?op=PutObject&action=reset&at_byte=100000&count=-1");
  const auto owner = std::make_shared<const std::string>(Pattern(1'000'000));
  std::vector<Future<PutResult>> saves;
  for (int i = 0; i < 32; ++i) {
    PutRequest put;
    put.key = "save-" + std::to_string(i);
    put.attributes.metadata[kNonceMetadataName] = put.key;
    put.payload.segments = {std::as_bytes(std::span(*owner))};
    put.payload.owner = owner;
    saves.push_back((*store)->Put(std::move(put)));
  }
  std::this_thread::sleep_for(milliseconds(1000));
  server.reset();
  std::this_thread::sleep_for(milliseconds(2000));
  const std::string port = url.substr(url.rfind(':') + 1);
  server =
      std::make_unique<ServerProcess>(std::vector<std::string>{"--port", port});
  ASSERT_TRUE(server->started());
  for (auto& save : saves) {
    const Result<PutResult> saved = std::move(save).Get();
    EXPECT_TRUE(saved.has_value()) << saved.error().ToString();
  }
}

// The server's certificate is verified, and a bundle makes it trusted.
TEST(S3Tls, TheCertificateMatters) {
  ASSERT_FALSE(ServerProgram().empty()) << "s3server was not built";
  std::string directory = ::testing::TempDir() + "s3tls-XXXXXX";
  ASSERT_NE(mkdtemp(directory.data()), nullptr);
  {
    ServerProcess server({"--tls-self-signed", directory});
    ASSERT_TRUE(server.started());
    ASSERT_TRUE(server.url().starts_with("https://"));
    S3StoreOptions options;
    options.endpoint_url = server.url();
    options.bucket = "bucket";
    options.access_key_id = "test";
    options.secret_access_key = "testtesttest";
    auto distrustful = OpenS3Store(options);
    ASSERT_TRUE(distrustful.has_value());
    auto refused = (*distrustful)->Head({"k", {}}).Get();
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code(), ErrorCode::kUnavailable);
    EXPECT_EQ(refused.error().s3_code(), "CertificateError");
    EXPECT_NE(refused.error().message().find("--ca-file"), std::string::npos);

    options.ca_file = directory + "/ca.pem";
    auto trusting = OpenS3Store(options);
    ASSERT_TRUE(trusting.has_value());
    PutRequest put;
    put.key = "k";
    auto owner = std::make_shared<const std::string>(Pattern(3'000'000));
    put.payload.segments = {std::as_bytes(std::span(*owner))};
    put.payload.owner = owner;
    auto done = (*trusting)->Put(std::move(put)).Get();
    ASSERT_TRUE(done.has_value()) << done.error().ToString();
    auto head = (*trusting)->Head({"k", {}}).Get();
    ASSERT_TRUE(head.has_value()) << head.error().ToString();
    EXPECT_EQ(head->size, owner->size());
  }
  std::filesystem::remove_all(directory);
}

TEST_F(S3Faults, WrongCredentialsAndBucketsAreNamed) {
  S3StoreOptions options;
  options.endpoint_url = server_->url();
  options.bucket = "bucket";
  options.access_key_id = "test";
  options.secret_access_key = "wrong";
  auto store = OpenS3Store(options);
  ASSERT_TRUE(store.has_value());
  auto denied = (*store)->List({}).Get();
  ASSERT_FALSE(denied.has_value());
  EXPECT_EQ(denied.error().code(), ErrorCode::kUnauthenticated);
  EXPECT_EQ(denied.error().ToString().find("wrong"), std::string::npos);

  options.secret_access_key = "testtesttest";
  options.bucket = "no-such-bucket";
  store = OpenS3Store(options);
  ASSERT_TRUE(store.has_value());
  auto absent = (*store)->List({}).Get();
  ASSERT_FALSE(absent.has_value());
  EXPECT_EQ(absent.error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(absent.error().s3_code(), "NoSuchBucket");
  EXPECT_NE(absent.error().message().find("\"no-such-bucket\""),
            std::string::npos);
}

TEST_F(S3Faults, NobodyListens) {
  S3StoreOptions options;
  options.endpoint_url = "http://127.0.0.1:1";
  options.bucket = "bucket";
  options.access_key_id = "a";
  options.secret_access_key = "b";
  auto store = OpenS3Store(options);
  ASSERT_TRUE(store.has_value());
  HeadRequest head;
  head.key = "k";
  head.options.deadline = milliseconds(200);
  auto result = (*store)->Head(std::move(head)).Get();
  ASSERT_FALSE(result.has_value());
  EXPECT_NE(result.error().message().find("http://127.0.0.1:1"),
            std::string::npos)
      << result.error().ToString();
}

}  // namespace
}  // namespace ckptfs::test
