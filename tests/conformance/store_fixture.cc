#include "conformance/store_fixture.h"

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <span>
#include <utility>

#if CKPTFS_HAVE_MEMORY_STORE
#include "store/memory_object_store.h"
#endif

namespace ckptfs::test {

namespace {

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

// What the real servers were seen to do, with the version looked at.
StoreTraits TraitsOf(const std::string& flavor) {
  StoreTraits t;
  if (flavor == "moto") {
    // moto 5: a test double; werkzeug resolves dot segments and decodes paths.
    t.conditional_complete = false;
    t.conditional_copy = false;
    t.source_condition = false;
    // Its Complete of an aborted upload is a 500.
    t.dot_segment_keys = false;
    t.control_characters = false;
    t.complete_after_abort = false;
    t.list_uploads = false;
    t.list_parts_paging = false;
  } else if (flavor == "radosgw") {
    // radosgw 16.2.15 takes If-Match and If-None-Match on PutObject; it ignores
    // them on CompleteMultipartUpload and CopyObject.
    t.conditional_complete = false;
    t.conditional_copy = false;
    // Its Complete of an aborted upload is a 500 for good ("This multipart
    // completion is already in progress").
    t.complete_after_abort = false;
    // It ignores conditions on DELETE, too, and the tags of uploads.
    t.conditional_delete = false;
    t.upload_keeps_tags = false;
  } else if (flavor == "rclone") {
    // rclone 1.75 serve s3 (gofakes3) maps keys to files. Parts go to the file
    // as they come: none may be missing or come twice. Complete tells an ETag
    // "<md5>-<parts>" that HEAD and GET do not know: theirs is another.
    t.part_gaps = false;
    t.parts_replaceable = false;
    t.complete_tells_etag = false;
    t.conditional_put = false;
    t.conditional_complete = false;
    t.conditional_copy = false;
    t.source_condition = false;
    t.upload_part_copy = false;
    t.dot_segment_keys = false;
    t.control_characters = false;
    t.long_keys = false;
    t.slash_keys = false;
    t.list_uploads = false;
    t.list_parts_paging = false;
    t.byte_order_listing = false;
    t.small_parts_refused = false;
    t.key_and_prefix = false;
    t.copy_replaces_metadata = false;
    t.conditional_delete = false;
    t.expires_header = false;
    t.tagging = false;
  }
  return t;
}

}  // namespace

std::vector<StoreUnderTest> StoresUnderTest() {
  std::vector<StoreUnderTest> stores;
#if CKPTFS_HAVE_MEMORY_STORE
  auto memory = std::make_shared<MemoryObjectStore>();
  stores.push_back({"memory", {}, [memory] { return memory; }});
#endif
  const std::string endpoint = Variable("CKPTFS_TEST_ENDPOINT");
  if (!endpoint.empty()) {
    const std::string flavor = Variable("CKPTFS_TEST_FLAVOR");
    stores.push_back({flavor.empty() ? "s3" : flavor, TraitsOf(flavor),
                      [endpoint]() -> std::shared_ptr<ObjectStore> {
                        S3StoreOptions options;
                        options.endpoint_url = endpoint;
                        options.bucket = Variable("CKPTFS_TEST_BUCKET");
                        auto opened = OpenS3Store(options);
                        if (!opened.has_value()) {
                          ADD_FAILURE() << opened.error().ToString();
                          return nullptr;
                        }
                        return std::move(*opened);
                      }});
  }
  return stores;
}

Payload PayloadOf(std::string bytes) {
  auto owner = std::make_shared<const std::string>(std::move(bytes));
  Payload payload;
  payload.segments.push_back(std::as_bytes(std::span(*owner)));
  payload.owner = owner;
  return payload;
}

std::string Pattern(std::size_t size, unsigned seed) {
  std::string out(size, '\0');
  std::uint64_t state = 0x9e3779b97f4a7c15u + seed;
  for (char& c : out) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    c = static_cast<char>(state >> 56);
  }
  return out;
}

void ObjectStoreTest::SetUp() {
  // Apart from what other runs left in the same bucket.
  static const std::string run =
      "ct-" + std::to_string(getpid()) + "-" +
      std::to_string(
          std::chrono::system_clock::now().time_since_epoch().count());
  static std::atomic<int> count{0};
  prefix_ = run + "/" + std::to_string(++count) + "/";
  store_ = GetParam().open();
  ASSERT_NE(store_, nullptr);
}

void ObjectStoreTest::TearDown() {
  if (store_ == nullptr) return;
  const std::vector<std::string> left = ListAll(prefix_);
  for (const std::string& key : left) {
    auto deleted = store_->Delete({key, {}}).Get();
    EXPECT_TRUE(deleted.has_value()) << deleted.error().ToString();
  }
}

Result<PutResult> ObjectStoreTest::Put(const std::string& key,
                                       const std::string& bytes,
                                       WriteCondition condition,
                                       ObjectAttributes attributes) {
  PutRequest request;
  request.key = key;
  request.payload = PayloadOf(bytes);
  request.condition = std::move(condition);
  request.attributes = std::move(attributes);
  return store_->Put(std::move(request)).Get();
}

Result<std::string> ObjectStoreTest::Read(const std::string& key,
                                          std::uint64_t offset,
                                          std::size_t size, ETag if_match) {
  auto buffer = std::make_shared<std::string>(size, '\xEE');
  GetRequest request;
  request.key = key;
  request.offset = offset;
  request.if_match = std::move(if_match);
  if (size > 0) {
    request.destination.segments.push_back(
        std::as_writable_bytes(std::span(*buffer)));
  }
  request.destination.owner = buffer;
  Result<GetResult> got = store_->Get(std::move(request)).Get();
  if (!got.has_value()) return Fail(got.error());
  EXPECT_EQ(got->info.key, key);
  // What was not received is untouched.
  for (std::size_t i = got->bytes; i < size; ++i) {
    if ((*buffer)[i] != '\xEE') {
      ADD_FAILURE() << "byte " << i << " beyond the result was written";
      break;
    }
  }
  return buffer->substr(0, got->bytes);
}

Result<ObjectInfo> ObjectStoreTest::Head(const std::string& key) {
  return store_->Head({key, {}}).Get();
}

std::vector<std::string> ObjectStoreTest::ListAll(
    const std::string& list_prefix, int max_keys) {
  std::vector<std::string> keys;
  ListRequest request;
  request.prefix = list_prefix;
  request.max_keys = max_keys;
  while (true) {
    Result<ListResult> page = store_->List(request).Get();
    if (!page.has_value()) {
      ADD_FAILURE() << page.error().ToString();
      return keys;
    }
    for (const ObjectInfo& o : page->objects) keys.push_back(o.key);
    if (!page->truncated) return keys;
    request.continuation_token = page->next_continuation_token;
  }
}

MultipartUpload ObjectStoreTest::Create(const std::string& key,
                                        UserMetadata metadata) {
  CreateMultipartRequest request;
  request.key = key;
  request.attributes.metadata = std::move(metadata);
  auto created = store_->CreateMultipart(std::move(request)).Get();
  if (!created.has_value()) {
    ADD_FAILURE() << created.error().ToString();
    return {key, "none"};
  }
  EXPECT_EQ(created->key, key);
  return *created;
}

CompletedPart ObjectStoreTest::Upload(const MultipartUpload& upload, int number,
                                      const std::string& bytes) {
  UploadPartRequest request;
  request.upload = upload;
  request.part_number = number;
  request.payload = PayloadOf(bytes);
  auto part = store_->UploadPart(std::move(request)).Get();
  if (!part.has_value()) {
    ADD_FAILURE() << part.error().ToString();
    return {};
  }
  EXPECT_EQ(part->part_number, number);
  EXPECT_EQ(part->size, bytes.size());
  return *part;
}

}  // namespace ckptfs::test
