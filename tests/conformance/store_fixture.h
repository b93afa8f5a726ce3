// What the ObjectStore suite runs on: a store, and what it is known to do.
#pragma once

#include <ckptfs/object_store.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace ckptfs::test {

// What an implementation is known not to do. The suite skips nothing silently:
// each flag skips with its name.
struct StoreTraits {
  bool conditional_put = true;
  bool conditional_complete = true;
  bool conditional_copy = true;
  bool source_condition = true;  // x-amz-copy-source-if-match
  bool upload_part_copy = true;
  bool dot_segment_keys = true;    // "../x" is taken literally
  bool control_characters = true;  // in keys
  bool long_keys = true;           // 1,024 bytes
  bool slash_keys = true;          // "a//b", "/a", "a/"
  bool list_uploads = true;        // with prefix, key marker and id marker
  bool list_parts_paging = true;
  bool byte_order_listing = true;
  bool small_parts_refused = true;  // EntityTooSmall below 5 MiB
  bool etag_changes = true;         // with the content
  bool key_and_prefix = true;       // an object may also be a "directory"
  bool abort_is_idempotent = true;
  bool part_gaps = true;             // part numbers need not be consecutive
  bool parts_replaceable = true;     // a part may be uploaded again
  bool complete_tells_etag = true;   // the one that HEAD tells
  bool complete_after_abort = true;  // answers NoSuchUpload
  bool copy_replaces_metadata = true;
  bool conditional_delete = true;  // in one step; else the store looks first
  bool expires_header = true;      // is told again
  bool tagging = true;
  bool upload_keeps_tags = true;  // those of CreateMultipartUpload
};

struct StoreUnderTest {
  std::string name;
  StoreTraits traits;
  // Opens the store. Each call gives one onto the same objects.
  std::function<std::shared_ptr<ObjectStore>()> open;
};

// The stores this run covers: memory, and S3 at CKPTFS_TEST_ENDPOINT if set.
std::vector<StoreUnderTest> StoresUnderTest();

// One key prefix per test, emptied at its end.
class ObjectStoreTest : public ::testing::TestWithParam<StoreUnderTest> {
 protected:
  void SetUp() override;
  void TearDown() override;

  const StoreTraits& traits() const { return GetParam().traits; }
  ObjectStore& store() { return *store_; }
  // A key of this test's own.
  std::string Key(const std::string& name) const { return prefix_ + name; }
  const std::string& prefix() const { return prefix_; }

  Result<PutResult> Put(const std::string& key, const std::string& bytes,
                        WriteCondition condition = {},
                        ObjectAttributes attributes = {});
  // The whole range [offset, offset + size), or the error.
  Result<std::string> Read(const std::string& key, std::uint64_t offset,
                           std::size_t size, ETag if_match = {});
  Result<ObjectInfo> Head(const std::string& key);
  // Every key below `list_prefix`, over all pages.
  std::vector<std::string> ListAll(const std::string& list_prefix,
                                   int max_keys = 1000);
  MultipartUpload Create(const std::string& key, UserMetadata metadata = {});
  CompletedPart Upload(const MultipartUpload& upload, int number,
                       const std::string& bytes);

 private:
  std::shared_ptr<ObjectStore> store_;
  std::string prefix_;
};

Payload PayloadOf(std::string bytes);
// `size` bytes that differ from place to place and from seed to seed.
std::string Pattern(std::size_t size, unsigned seed);

}  // namespace ckptfs::test
