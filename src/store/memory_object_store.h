// MemoryObjectStore: a bucket in memory with S3's semantics, for tests and
// simulations. Conditions, multipart rules, listings and limits are those of
// the Amazon S3 API Reference; what S3 leaves open is named where it is
// decided.
#pragma once

#include <ckptfs/object_store.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "common/mutex.h"

namespace ckptfs {

struct MemoryObjectStoreOptions {
  // EntityTooSmall below this, but for the last part. Tests of small objects
  // lower it.
  std::uint64_t min_part_bytes = 5ull << 20;
  // InvalidRequest above this in one Copy.
  std::uint64_t max_copy_bytes = 5ull << 30;
  // Most entries of any listing page; S3: 1,000.
  int max_page = 1000;
  // Every write makes a version id, and Get serves old versions by it.
  bool versioned = false;
  // What capabilities() answers. Conditions and tags where it says
  // "unsupported" are kUnsupported, as the interface demands; those on Copy and
  // Delete hold in any case, in one step.
  StoreCapabilities capabilities;
  // For last_modified; nullptr: the machine's. Must outlive the store.
  const Clock* clock = nullptr;
};

// Thread-safe; every operation has taken effect and its future is ready when
// the call returns. An operation whose stop was requested before it starts is
// kCancelled and has no effect. Never refers to the caller's memory afterwards.
class MemoryObjectStore final : public ObjectStore {
 public:
  explicit MemoryObjectStore(MemoryObjectStoreOptions options = {});
  ~MemoryObjectStore() override;

  Future<ObjectInfo> Head(HeadRequest request) override;
  Future<GetResult> Get(GetRequest request) override;
  Future<PutResult> Put(PutRequest request) override;
  Future<MultipartUpload> CreateMultipart(
      CreateMultipartRequest request) override;
  Future<CompletedPart> UploadPart(UploadPartRequest request) override;
  Future<CompletedPart> UploadPartCopy(UploadPartCopyRequest request) override;
  Future<PutResult> CompleteMultipart(
      CompleteMultipartRequest request) override;
  Future<void> AbortMultipart(AbortMultipartRequest request) override;
  Future<ListPartsResult> ListParts(ListPartsRequest request) override;
  Future<ListUploadsResult> ListMultipartUploads(
      ListUploadsRequest request) override;
  Future<PutResult> Copy(CopyRequest request) override;
  Future<void> Delete(DeleteRequest request) override;
  Future<DeleteManyResult> DeleteMany(DeleteManyRequest request) override;
  Future<ObjectTags> GetTags(GetTagsRequest request) override;
  Future<ListResult> List(ListRequest request) override;
  StoreCapabilities capabilities() const override;

  // What a test asks the bucket, past the API.

  // Every current object: key -> bytes.
  std::map<std::string, std::string> Snapshot() const;
  // Uploads that were neither completed nor aborted, by key and id.
  std::vector<MultipartUpload> OpenUploads() const;
  // Operations begun since construction; never goes back.
  std::uint64_t calls() const;
  // An unconditional Put of `bytes`, as another client would make it.
  PutResult PutBytes(const std::string& key, const std::string& bytes,
                     UserMetadata metadata = {});

 private:
  // Immutable once stored, so that reads copy outside the lock.
  struct Object {
    std::string bytes;
    ObjectInfo info;
    ObjectTags tags;
  };
  using ObjectPtr = std::shared_ptr<const Object>;
  struct Part {
    ETag etag;
    std::string bytes;
  };
  struct Upload {
    std::string key;
    ObjectAttributes attributes;
    WallTime initiated;
    std::map<int, Part> parts;
  };

  // Counts the call; the error with which it must end at once, if any.
  Result<void> Enter(const RequestOptions& options) const;

  ETag NextETag() CKPTFS_REQUIRES(mu_);
  WallTime Now() const;
  ObjectPtr FindObject(const std::string& key) const CKPTFS_REQUIRES(mu_);
  Result<Upload*> FindUpload(const MultipartUpload& upload)
      CKPTFS_REQUIRES(mu_);
  Result<void> CheckCondition(const std::string& key,
                              const WriteCondition& condition) const
      CKPTFS_REQUIRES(mu_);
  PutResult Store(const std::string& key, std::string bytes,
                  ObjectAttributes attributes) CKPTFS_REQUIRES(mu_);
  // The object of that version, or the current one.
  ObjectPtr FindVersion(const std::string& key,
                        const std::string& version_id) const
      CKPTFS_REQUIRES(mu_);

  const MemoryObjectStoreOptions options_;

  mutable Mutex mu_;
  mutable std::uint64_t calls_ CKPTFS_GUARDED_BY(mu_) = 0;
  // Makes ETags, version and upload ids.
  std::uint64_t generation_ CKPTFS_GUARDED_BY(mu_) = 0;
  std::map<std::string, ObjectPtr> objects_ CKPTFS_GUARDED_BY(mu_);
  std::map<std::pair<std::string, std::string>, ObjectPtr> versions_
      CKPTFS_GUARDED_BY(mu_);
  // By upload id.
  std::map<std::string, Upload> uploads_ CKPTFS_GUARDED_BY(mu_);
};

}  // namespace ckptfs
