// ObjectTable: the buckets, objects and multipart uploads of the server, in
// memory, with S3's rules on conditions, parts and listings. Thread-safe; never
// blocks but for its own lock; bytes are shared, never copied.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "s3server/conditions.h"
#include "s3server/content.h"
#include "s3server/dates.h"
#include "s3server/s3_error.h"

namespace ckptfs::s3server {

// What an object carries besides its bytes.
struct Metadata {
  // Content-Type, Cache-Control, ..., x-amz-meta-*: lower-case name -> value.
  std::map<std::string, std::string> headers = {};
  std::map<std::string, std::string> tags = {};
};

// One version of an object; immutable.
struct Object {
  Content content;
  std::string etag;  // without quotes
  SystemTime last_modified;
  Metadata metadata;
};
using ObjectPtr = std::shared_ptr<const Object>;

struct Part {
  Content content;
  std::string etag;
  SystemTime last_modified;
};

struct UploadInfo {
  std::string key;
  std::string id;
  SystemTime initiated;
  std::map<int, Part> parts;
};

struct NamedPart {
  int number;
  std::string etag;
};

struct ListQuery {
  std::string prefix = {};
  std::string delimiter = {};
  // Names up to and including this one (a key or a common prefix) are skipped.
  std::string after = {};
  std::size_t max_keys = 1000;
};

struct ListPage {
  struct Entry {
    std::string key;
    ObjectPtr object;
  };
  std::vector<Entry> entries = {};
  std::vector<std::string> common_prefixes = {};
  bool truncated = false;
  std::string last = {};  // name to go on after, if truncated
};

class ObjectTable {
 public:
  struct Options {
    std::uint64_t min_part_bytes = 5 << 20;
    // ETags that are not digests: for speed.
    bool opaque_etags = false;
    // Completed objects read as the pattern from offset 0.
    bool rebase_patterns = false;
  };
  explicit ObjectTable(Options options);

  // False if it exists already.
  bool CreateBucket(const std::string& bucket);
  // BucketNotEmpty, NoSuchBucket.
  Reply<void> DeleteBucket(const std::string& bucket);
  bool HasBucket(const std::string& bucket) const;
  std::vector<std::string> Buckets() const;

  Reply<ObjectPtr> Get(const std::string& bucket, const std::string& key) const;
  // `etag` "" has one made from the content. Conditions are settled and the
  // object published in one step.
  Reply<ObjectPtr> Put(const std::string& bucket, const std::string& key,
                       Content content, std::string etag, Metadata metadata,
                       const Conditions& conditions, SystemTime now);
  Reply<void> Delete(const std::string& bucket, const std::string& key,
                     const Conditions& conditions);
  // The version stays the one it is.
  Reply<void> SetTags(const std::string& bucket, const std::string& key,
                      std::map<std::string, std::string> tags);
  Reply<ListPage> List(const std::string& bucket, const ListQuery& query) const;

  Reply<std::string> CreateUpload(const std::string& bucket,
                                  const std::string& key, Metadata metadata,
                                  SystemTime now);
  // NoSuchUpload unless the upload is open for that key.
  Reply<void> CheckUpload(const std::string& bucket, const std::string& key,
                          const std::string& id) const;
  // Returns the part's ETag.
  Reply<std::string> PutPart(const std::string& bucket, const std::string& key,
                             const std::string& id, int number, Content content,
                             std::string etag, SystemTime now);
  Reply<ObjectPtr> CompleteUpload(const std::string& bucket,
                                  const std::string& key, const std::string& id,
                                  const std::vector<NamedPart>& parts,
                                  const Conditions& conditions, SystemTime now);
  Reply<void> AbortUpload(const std::string& bucket, const std::string& key,
                          const std::string& id);
  Reply<UploadInfo> GetUpload(const std::string& bucket, const std::string& key,
                              const std::string& id) const;
  // Ordered by key, then by id.
  Reply<std::vector<UploadInfo>> Uploads(const std::string& bucket,
                                         const std::string& prefix) const;

  // An ETag for `content`: its MD5, or an opaque one.
  std::string MakeETag(const Content& content);

 private:
  struct Upload {
    std::string key;
    Metadata metadata;
    SystemTime initiated;
    std::map<int, Part> parts;
  };
  struct Bucket {
    std::map<std::string, ObjectPtr> objects;  // std::less: order of bytes
    std::map<std::string, Upload> uploads;     // by id
  };
  std::string OpaqueETag();
  static const Upload* FindUpload(const Bucket& bucket, const std::string& key,
                                  const std::string& id);
  static Reply<void> Settle(const Bucket& bucket, const std::string& key,
                            const Conditions& conditions);

  const Options options_;
  mutable std::mutex mu_;  // leaf; guards the rest
  std::map<std::string, Bucket> buckets_;
  std::uint64_t next_id_ = 1;
};

}  // namespace ckptfs::s3server
