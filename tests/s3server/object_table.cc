#include "s3server/object_table.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "s3server/digest.h"

namespace ckptfs::s3server {
namespace {

S3Error NoSuchBucket() {
  return {404, "NoSuchBucket", "The specified bucket does not exist"};
}
S3Error NoSuchKey() {
  return {404, "NoSuchKey", "The specified key does not exist."};
}
S3Error NoSuchUpload() {
  return {404, "NoSuchUpload",
          "The specified upload does not exist. The upload ID may be invalid, "
          "or the upload may have been aborted or completed."};
}
S3Error PreconditionFailed(std::string condition) {
  return {412,
          "PreconditionFailed",
          "At least one of the pre-conditions you specified did not hold",
          {{"Condition", std::move(condition)}}};
}

// The least string greater than every string that starts with `prefix`; ""
// (none) if it is all 0xff bytes.
std::string AfterPrefix(std::string prefix) {
  while (!prefix.empty() && prefix.back() == '\xff') prefix.pop_back();
  if (!prefix.empty()) ++prefix.back();
  return prefix;
}

}  // namespace

ObjectTable::ObjectTable(Options options) : options_(options) {}

bool ObjectTable::CreateBucket(const std::string& bucket) {
  std::lock_guard lock(mu_);
  return buckets_.try_emplace(bucket).second;
}

Reply<void> ObjectTable::DeleteBucket(const std::string& bucket) {
  std::lock_guard lock(mu_);
  const auto it = buckets_.find(bucket);
  if (it == buckets_.end()) return Refuse(NoSuchBucket());
  if (!it->second.objects.empty()) {
    return Refuse(409, "BucketNotEmpty",
                  "The bucket you tried to delete is not empty");
  }
  buckets_.erase(it);
  return {};
}

bool ObjectTable::HasBucket(const std::string& bucket) const {
  std::lock_guard lock(mu_);
  return buckets_.contains(bucket);
}

std::vector<std::string> ObjectTable::Buckets() const {
  std::lock_guard lock(mu_);
  std::vector<std::string> names;
  for (const auto& [name, bucket] : buckets_) names.push_back(name);
  return names;
}

std::string ObjectTable::OpaqueETag() {
  std::uint64_t id;
  {
    std::lock_guard lock(mu_);
    id = next_id_++;
  }
  char text[40];
  // Not 32 hex digits, so that nobody takes it for an MD5.
  std::snprintf(text, sizeof(text), "opaque-%016llx",
                static_cast<unsigned long long>(id));
  return text;
}

std::string ObjectTable::MakeETag(const Content& content) {
  if (options_.opaque_etags || content.HasPattern()) return OpaqueETag();
  return Hex(Md5(content));
}

Reply<ObjectPtr> ObjectTable::Get(const std::string& bucket,
                                  const std::string& key) const {
  std::lock_guard lock(mu_);
  const auto it = buckets_.find(bucket);
  if (it == buckets_.end()) return Refuse(NoSuchBucket());
  const auto object = it->second.objects.find(key);
  if (object == it->second.objects.end()) return Refuse(NoSuchKey());
  return object->second;
}

// S3: If-Match on an absent key is 404, everything else that fails is 412.
Reply<void> ObjectTable::Settle(const Bucket& bucket, const std::string& key,
                                const Conditions& conditions) {
  const auto it = bucket.objects.find(key);
  if (conditions.if_match) {
    if (it == bucket.objects.end()) return Refuse(NoSuchKey());
    if (!MatchesETag(*conditions.if_match, it->second->etag)) {
      return Refuse(PreconditionFailed("If-Match"));
    }
  }
  if (conditions.if_none_match && it != bucket.objects.end() &&
      MatchesETag(*conditions.if_none_match, it->second->etag)) {
    return Refuse(PreconditionFailed("If-None-Match"));
  }
  return {};
}

Reply<ObjectPtr> ObjectTable::Put(const std::string& bucket,
                                  const std::string& key, Content content,
                                  std::string etag, Metadata metadata,
                                  const Conditions& conditions,
                                  SystemTime now) {
  if (etag.empty()) etag = MakeETag(content);
  auto object = std::make_shared<const Object>(
      Object{std::move(content), std::move(etag), now, std::move(metadata)});
  ObjectPtr old;  // freed after the lock is released
  std::lock_guard lock(mu_);
  const auto it = buckets_.find(bucket);
  if (it == buckets_.end()) return Refuse(NoSuchBucket());
  if (auto settled = Settle(it->second, key, conditions); !settled) {
    return Refuse(settled.error());
  }
  ObjectPtr& slot = it->second.objects[key];
  old = std::exchange(slot, object);
  return object;
}

Reply<void> ObjectTable::Delete(const std::string& bucket,
                                const std::string& key,
                                const Conditions& conditions) {
  ObjectPtr old;
  std::lock_guard lock(mu_);
  const auto it = buckets_.find(bucket);
  if (it == buckets_.end()) return Refuse(NoSuchBucket());
  if (auto settled = Settle(it->second, key, conditions); !settled) {
    return settled;
  }
  const auto object = it->second.objects.find(key);
  if (object == it->second.objects.end()) return {};
  old = std::move(object->second);
  it->second.objects.erase(object);
  return {};
}

Reply<void> ObjectTable::SetTags(const std::string& bucket,
                                 const std::string& key,
                                 std::map<std::string, std::string> tags) {
  ObjectPtr old;
  std::lock_guard lock(mu_);
  const auto it = buckets_.find(bucket);
  if (it == buckets_.end()) return Refuse(NoSuchBucket());
  const auto object = it->second.objects.find(key);
  if (object == it->second.objects.end()) return Refuse(NoSuchKey());
  Object tagged = *object->second;
  tagged.metadata.tags = std::move(tags);
  old = std::exchange(object->second,
                      std::make_shared<const Object>(std::move(tagged)));
  return {};
}

Reply<ListPage> ObjectTable::List(const std::string& bucket,
                                  const ListQuery& query) const {
  std::lock_guard lock(mu_);
  const auto found = buckets_.find(bucket);
  if (found == buckets_.end()) return Refuse(NoSuchBucket());
  const auto& objects = found->second.objects;
  ListPage page;
  if (query.max_keys == 0) return page;

  auto it = query.after < query.prefix ? objects.lower_bound(query.prefix)
                                       : objects.upper_bound(query.after);
  const auto skip_prefix = [&](const std::string& prefix) {
    const std::string next = AfterPrefix(prefix);
    it = next.empty() ? objects.end() : objects.lower_bound(next);
  };
  std::size_t count = 0;
  while (it != objects.end() && it->first.starts_with(query.prefix)) {
    std::string name = it->first;
    bool is_prefix = false;
    if (!query.delimiter.empty()) {
      const std::size_t at = name.find(query.delimiter, query.prefix.size());
      if (at != std::string::npos) {
        name.resize(at + query.delimiter.size());
        is_prefix = true;
      }
    }
    if (is_prefix && name == query.after) {
      skip_prefix(name);
      continue;
    }
    if (count == query.max_keys) {
      page.truncated = true;
      break;
    }
    ++count;
    page.last = name;
    if (is_prefix) {
      skip_prefix(name);
      page.common_prefixes.push_back(std::move(name));
    } else {
      page.entries.push_back({std::move(name), it->second});
      ++it;
    }
  }
  return page;
}

Reply<std::string> ObjectTable::CreateUpload(const std::string& bucket,
                                             const std::string& key,
                                             Metadata metadata,
                                             SystemTime now) {
  std::lock_guard lock(mu_);
  const auto it = buckets_.find(bucket);
  if (it == buckets_.end()) return Refuse(NoSuchBucket());
  char id[40];
  std::snprintf(id, sizeof(id), "upload-%016llx",
                static_cast<unsigned long long>(next_id_++));
  it->second.uploads[id] = Upload{key, std::move(metadata), now, {}};
  return std::string(id);
}

const ObjectTable::Upload* ObjectTable::FindUpload(const Bucket& bucket,
                                                   const std::string& key,
                                                   const std::string& id) {
  const auto it = bucket.uploads.find(id);
  if (it == bucket.uploads.end() || it->second.key != key) return nullptr;
  return &it->second;
}

Reply<void> ObjectTable::CheckUpload(const std::string& bucket,
                                     const std::string& key,
                                     const std::string& id) const {
  std::lock_guard lock(mu_);
  const auto it = buckets_.find(bucket);
  if (it == buckets_.end()) return Refuse(NoSuchBucket());
  if (!FindUpload(it->second, key, id)) return Refuse(NoSuchUpload());
  return {};
}

Reply<std::string> ObjectTable::PutPart(const std::string& bucket,
                                        const std::string& key,
                                        const std::string& id, int number,
                                        Content content, std::string etag,
                                        SystemTime now) {
  if (etag.empty()) etag = MakeETag(content);
  Part part{std::move(content), etag, now};
  std::lock_guard lock(mu_);
  const auto it = buckets_.find(bucket);
  if (it == buckets_.end()) return Refuse(NoSuchBucket());
  if (!FindUpload(it->second, key, id)) return Refuse(NoSuchUpload());
  std::swap(it->second.uploads.at(id).parts[number], part);
  return etag;
}

Reply<ObjectPtr> ObjectTable::CompleteUpload(
    const std::string& bucket, const std::string& key, const std::string& id,
    const std::vector<NamedPart>& parts, const Conditions& conditions,
    SystemTime now) {
  if (parts.empty()) {
    return Refuse(400, "MalformedXML",
                  "The XML you provided was not well-formed or did not "
                  "validate against our published schema");
  }
  ObjectPtr old;
  Upload finished;
  const std::string opaque =
      options_.opaque_etags ? OpaqueETag() : std::string();
  std::lock_guard lock(mu_);
  const auto it = buckets_.find(bucket);
  if (it == buckets_.end()) return Refuse(NoSuchBucket());
  const Upload* upload = FindUpload(it->second, key, id);
  if (!upload) return Refuse(NoSuchUpload());

  Content content;
  std::string digests;
  if (std::adjacent_find(parts.begin(), parts.end(),
                         [](const NamedPart& a, const NamedPart& b) {
                           return a.number >= b.number;
                         }) != parts.end()) {
    return Refuse(400, "InvalidPartOrder",
                  "The list of parts was not in ascending order. Parts must be "
                  "ordered by part number.");
  }
  for (const NamedPart& named : parts) {
    const auto part = upload->parts.find(named.number);
    if (part == upload->parts.end() ||
        part->second.etag != Unquote(named.etag)) {
      return Refuse(S3Error{
          400,
          "InvalidPart",
          "One or more of the specified parts could not be found. The part "
          "may not have been uploaded, or the specified entity tag may not "
          "match the part's entity tag.",
          {{"UploadId", id}, {"PartNumber", std::to_string(named.number)}}});
    }
    const bool last = &named == &parts.back();
    if (!last && part->second.content.size() < options_.min_part_bytes) {
      return Refuse(S3Error{
          400,
          "EntityTooSmall",
          "Your proposed upload is smaller than the minimum allowed size",
          {{"PartNumber", std::to_string(named.number)},
           {"ProposedSize", std::to_string(part->second.content.size())},
           {"MinSizeAllowed", std::to_string(options_.min_part_bytes)}}});
    }
    // A part of pattern bytes has an opaque tag; it goes into the digest as is.
    digests += FromHex(part->second.etag).value_or(part->second.etag);
    content.Append(part->second.content);
  }
  if (auto settled = Settle(it->second, key, conditions); !settled) {
    return Refuse(settled.error());
  }
  std::string etag = options_.opaque_etags ? opaque
                                           : Hex(Md5(digests)) + "-" +
                                                 std::to_string(parts.size());
  if (options_.rebase_patterns) content = content.AsPattern();
  auto object = std::make_shared<const Object>(
      Object{std::move(content), std::move(etag), now, upload->metadata});
  old = std::exchange(it->second.objects[key], object);
  finished = std::move(it->second.uploads.at(id));
  it->second.uploads.erase(id);
  return object;
}

Reply<void> ObjectTable::AbortUpload(const std::string& bucket,
                                     const std::string& key,
                                     const std::string& id) {
  Upload aborted;
  std::lock_guard lock(mu_);
  const auto it = buckets_.find(bucket);
  if (it == buckets_.end()) return Refuse(NoSuchBucket());
  if (!FindUpload(it->second, key, id)) return Refuse(NoSuchUpload());
  aborted = std::move(it->second.uploads.at(id));
  it->second.uploads.erase(id);
  return {};
}

Reply<UploadInfo> ObjectTable::GetUpload(const std::string& bucket,
                                         const std::string& key,
                                         const std::string& id) const {
  std::lock_guard lock(mu_);
  const auto it = buckets_.find(bucket);
  if (it == buckets_.end()) return Refuse(NoSuchBucket());
  const Upload* upload = FindUpload(it->second, key, id);
  if (!upload) return Refuse(NoSuchUpload());
  return UploadInfo{upload->key, id, upload->initiated, upload->parts};
}

Reply<std::vector<UploadInfo>> ObjectTable::Uploads(
    const std::string& bucket, const std::string& prefix) const {
  std::lock_guard lock(mu_);
  const auto it = buckets_.find(bucket);
  if (it == buckets_.end()) return Refuse(NoSuchBucket());
  std::vector<UploadInfo> uploads;
  for (const auto& [id, upload] : it->second.uploads) {
    if (!upload.key.starts_with(prefix)) continue;
    uploads.push_back({upload.key, id, upload.initiated, upload.parts});
  }
  std::sort(uploads.begin(), uploads.end(),
            [](const UploadInfo& a, const UploadInfo& b) {
              return std::tie(a.key, a.id) < std::tie(b.key, b.id);
            });
  return uploads;
}

}  // namespace ckptfs::s3server
