// The transport and the transfers above it, used by several threads at once and
// stopped in the midst of it: ThreadSanitizer looks on.
#include <gtest/gtest.h>

#include <chrono>
#include <latch>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/executors.h"
#include "common/task.h"
#include "conformance/server_process.h"
#include "http/curl_transport.h"
#include "s3/credentials/credentials_provider.h"
#include "store/s3_object_store.h"
#include "transfer/object_reader.h"
#include "transfer/object_writer.h"

namespace ckptfs::test {
namespace {

class TransportThreads : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_FALSE(ServerProgram().empty()) << "s3server was not built";
    ASSERT_TRUE(server_.started());
  }

  HttpRequest Get(std::stop_token stop = {}) const {
    HttpRequest request;
    request.method = "GET";
    request.url = server_.url() + "/_control/stats";
    request.stop = std::move(stop);
    return request;
  }

  static std::unique_ptr<CurlTransport> NewTransport(int max_connections) {
    CurlTransport::Options options;
    options.max_connections = max_connections;
    Result<std::unique_ptr<CurlTransport>> made =
        CurlTransport::Create(std::move(options));
    EXPECT_TRUE(made.has_value());
    return *std::move(made);
  }

  std::unique_ptr<ObjectStore> Open() const {
    S3ObjectStore::Parts parts;
    parts.executor = std::make_unique<ThreadPool>("test-s3", 2);
    parts.clock = std::make_unique<SystemClock>();
    parts.credentials = std::make_unique<StaticCredentials>(
        Credentials{"test", "testtesttest", ""});
    parts.transport = NewTransport(8);
    return std::make_unique<S3ObjectStore>(
        std::move(parts),
        *Endpoint::Create(server_.url(), "us-east-1", "bucket", std::nullopt),
        "us-east-1", S3ClientOptions());
  }

  ServerProcess server_;
};

// Every exchange ends once, as it must, whether it is stopped before its turn,
// on the wire or behind its end.
TEST_F(TransportThreads, RequestsAreSentAndStoppedFromAnyThread) {
  constexpr int kSenders = 3;
  constexpr int kRounds = 30;
  const std::unique_ptr<CurlTransport> transport = NewTransport(2);
  std::vector<std::thread> senders;
  for (int s = 0; s < kSenders; ++s) {
    senders.emplace_back([&] {
      for (int i = 0; i < kRounds; ++i) {
        std::stop_source stop;
        Future<HttpResponse> kept = transport->Send(Get());
        Future<HttpResponse> stopped = transport->Send(Get(stop.get_token()));
        std::thread stopper([&stop] { stop.request_stop(); });
        const Result<HttpResponse> whole = std::move(kept).Get();
        const Result<HttpResponse> cut = std::move(stopped).Get();
        stopper.join();
        ASSERT_TRUE(whole.has_value() && cut.has_value());
        EXPECT_EQ(whole->status, 200) << whole->failure_text;
        EXPECT_TRUE(cut->status == 200 ||
                    cut->failure == TransportFailure::kCancelled)
            << cut->failure_text;
      }
    });
  }
  for (std::thread& t : senders) t.join();
}

// In many rounds: a request that comes between a loop's last look at its inbox
// and its end was once forgotten.
TEST_F(TransportThreads, ATransportEndsWithRequestsInFlightAndStops) {
  for (int round = 0; round < 100; ++round) {
    std::unique_ptr<CurlTransport> transport = NewTransport(4);
    std::stop_source stop;
    std::vector<Future<HttpResponse>> answers;
    for (int i = 0; i < 16; ++i) {
      answers.push_back(transport->Send(Get(stop.get_token())));
    }
    std::thread stopper([&stop] { stop.request_stop(); });
    transport.reset();
    stopper.join();
    for (auto& answer : answers) {
      const Result<HttpResponse> response = std::move(answer).Get();
      ASSERT_TRUE(response.has_value());
      EXPECT_TRUE(response->status == 200 ||
                  response->failure == TransportFailure::kCancelled)
          << response->failure_text;
    }
  }
}

Task<void> WriteAndReadBack(ObjectStore& store, Executor& strand,
                            std::string key, std::latch& done) {
  constexpr std::size_t kPart = 5u << 20;
  constexpr int kParts = 3;
  auto sent = std::make_shared<std::string>(kParts * kPart, 'a');
  for (std::size_t i = 0; i < sent->size(); i += 997) (*sent)[i] = 'b';
  ObjectWriter writer(store, strand,
                      ObjectWriterOptions{.max_parts_in_flight = 2});
  writer.Begin(key, {});
  for (int i = 0; i < kParts; ++i) {
    Payload payload;
    payload.segments = {
        std::as_bytes(std::span(*sent)).subspan(i * kPart, kPart)};
    payload.owner = sent;
    writer.UploadPart(
        i + 1, std::move(payload),
        [](Result<CompletedPart> part) { EXPECT_TRUE(part.has_value()); });
  }
  WriteCondition always;
  const Result<ObjectInfo> written =
      co_await writer.Complete(std::move(always));
  EXPECT_TRUE(written.has_value());
  if (written.has_value()) {
    ObjectInfo pinned = *written;
    ObjectReader reader(store, strand, pinned,
                        ObjectReaderOptions{.range_bytes = 1u << 20,
                                            .max_ranges_in_flight = 4});
    auto back = std::make_shared<std::string>(sent->size(), '-');
    Destination destination;
    destination.segments = {std::as_writable_bytes(std::span(*back))};
    destination.owner = back;
    RequestOptions options;
    const Result<std::uint64_t> bytes =
        co_await reader.Read(0, std::move(destination), std::move(options));
    EXPECT_TRUE(bytes.has_value());
    EXPECT_TRUE(*back == *sent);
  }
  done.count_down();
}

TEST_F(TransportThreads, ObjectsAreWrittenAndReadSideBySide) {
  constexpr int kObjects = 2;
  std::latch done(kObjects);
  ThreadPool strand("strand", 1);
  const std::unique_ptr<ObjectStore> store = Open();
  for (int i = 0; i < kObjects; ++i) {
    strand.Post([&, i] {
      Spawn(strand, WriteAndReadBack(*store, strand,
                                     "object-" + std::to_string(i), done));
    });
  }
  done.wait();
}

}  // namespace
}  // namespace ckptfs::test
