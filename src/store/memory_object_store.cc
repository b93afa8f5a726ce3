#include "store/memory_object_store.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string_view>

namespace ckptfs {
namespace {

// S3's limits (Amazon S3 User Guide: "Naming objects", "Object metadata",
// "Multipart upload limits").
constexpr std::size_t kMaxKeyBytes = 1024;
constexpr std::size_t kMaxMetadataBytes = 2048;
constexpr std::size_t kMaxTags = 10;
constexpr std::uint64_t kMaxPutBytes = 5ull << 30;
constexpr int kMaxPartNumber = 10'000;

tl::unexpected<Error> Refuse(ErrorCode code, int status, std::string s3_code,
                             const std::string& key, std::string message) {
  return Fail(Error(code, Error::Detail{.message = std::move(message),
                                        .http_status = status,
                                        .s3_code = std::move(s3_code),
                                        .request_id = {},
                                        .key = key}));
}

tl::unexpected<Error> NoSuchKey(const std::string& key) {
  return Refuse(ErrorCode::kNotFound, 404, "NoSuchKey", key,
                "no object " + key);
}

tl::unexpected<Error> NoSuchUpload(const MultipartUpload& upload) {
  return Refuse(ErrorCode::kNotFound, 404, "NoSuchUpload", upload.key,
                "no upload " + upload.upload_id + " of " + upload.key);
}

tl::unexpected<Error> ConditionFailed(const std::string& key,
                                      const std::string& why) {
  return Refuse(ErrorCode::kPreconditionFailed, 412, "PreconditionFailed", key,
                key + ": " + why);
}

Result<void> CheckKey(const std::string& key) {
  if (key.empty()) return Fail(ErrorCode::kInvalidArgument, "empty object key");
  if (key.size() > kMaxKeyBytes) {
    return Refuse(ErrorCode::kNameTooLong, 400, "KeyTooLongError", key,
                  "the object key has more than 1024 bytes");
  }
  return {};
}

Result<void> CheckAttributes(const std::string& key,
                             const ObjectAttributes& attributes,
                             const StoreCapabilities& capabilities) {
  if (!attributes.tags.empty() && !capabilities.tagging) {
    return Fail(ErrorCode::kUnsupported, "tags");
  }
  if (attributes.tags.size() > kMaxTags) {
    return Refuse(ErrorCode::kInvalidArgument, 400, "BadRequest", key,
                  "more than 10 tags");
  }
  std::size_t bytes = 0;
  for (const auto& [name, value] : attributes.metadata) {
    bytes += name.size() + value.size();
  }
  if (bytes > kMaxMetadataBytes) {
    return Refuse(ErrorCode::kInvalidArgument, 400, "MetadataTooLarge", key,
                  "user metadata of more than 2 KiB");
  }
  return {};
}

Result<void> CheckPartNumber(const std::string& key, int number) {
  if (number >= 1 && number <= kMaxPartNumber) return {};
  return Refuse(
      ErrorCode::kInvalidArgument, 400, "InvalidArgument", key,
      "part number " + std::to_string(number) + " is outside of 1 to 10000");
}

std::string Gather(const Payload& payload) {
  std::string bytes;
  bytes.reserve(payload.size());
  for (const auto& s : payload.segments) {
    bytes.append(reinterpret_cast<const char*>(s.data()), s.size());
  }
  return bytes;
}

std::uint64_t Scatter(std::string_view bytes, const Destination& destination) {
  std::uint64_t done = 0;
  for (const auto& s : destination.segments) {
    const std::size_t n = std::min<std::size_t>(s.size(), bytes.size() - done);
    if (n == 0) break;
    std::memcpy(s.data(), bytes.data() + done, n);
    done += n;
  }
  return done;
}

std::string Numbered(const char* prefix, std::uint64_t number) {
  char text[40];
  std::snprintf(text, sizeof text, "%s%010llu", prefix,
                static_cast<unsigned long long>(number));
  return text;
}

}  // namespace

MemoryObjectStore::MemoryObjectStore(MemoryObjectStoreOptions options)
    : options_(std::move(options)) {}

MemoryObjectStore::~MemoryObjectStore() = default;

Result<void> MemoryObjectStore::Enter(const RequestOptions& options) const {
  MutexLock lock(mu_);
  ++calls_;
  if (options.stop.stop_requested()) {
    return Fail(ErrorCode::kCancelled, "cancelled by the caller");
  }
  return {};
}

ETag MemoryObjectStore::NextETag() {
  return ETag{"\"" + Numbered("memory-", ++generation_) + "\""};
}

WallTime MemoryObjectStore::Now() const {
  // S3 reports whole seconds (Last-Modified is an HTTP date).
  const WallTime now = options_.clock != nullptr
                           ? options_.clock->WallNow()
                           : std::chrono::system_clock::now();
  return std::chrono::floor<std::chrono::seconds>(now);
}

MemoryObjectStore::ObjectPtr MemoryObjectStore::FindObject(
    const std::string& key) const {
  const auto it = objects_.find(key);
  return it == objects_.end() ? nullptr : it->second;
}

MemoryObjectStore::ObjectPtr MemoryObjectStore::FindVersion(
    const std::string& key, const std::string& version_id) const {
  if (version_id.empty()) return FindObject(key);
  const auto it = versions_.find({key, version_id});
  return it == versions_.end() ? nullptr : it->second;
}

Result<MemoryObjectStore::Upload*> MemoryObjectStore::FindUpload(
    const MultipartUpload& upload) {
  const auto it = uploads_.find(upload.upload_id);
  if (it == uploads_.end() || it->second.key != upload.key) {
    return NoSuchUpload(upload);
  }
  return &it->second;
}

Result<void> MemoryObjectStore::CheckCondition(
    const std::string& key, const WriteCondition& condition) const {
  const ObjectPtr current = FindObject(key);
  if (condition.if_none_match && current != nullptr) {
    return ConditionFailed(key, "the object exists already");
  }
  if (!condition.if_match.empty() &&
      (current == nullptr || current->info.etag != condition.if_match)) {
    return ConditionFailed(
        key, current == nullptr ? "the object is gone" : "it was replaced");
  }
  return {};
}

PutResult MemoryObjectStore::Store(const std::string& key, std::string bytes,
                                   ObjectAttributes attributes) {
  auto object = std::make_shared<Object>();
  object->info.key = key;
  object->info.size = bytes.size();
  object->info.etag = NextETag();
  if (options_.versioned) {
    object->info.version_id = Numbered("version-", generation_);
  }
  object->info.last_modified = Now();
  object->info.metadata = std::move(attributes.metadata);
  object->info.content_type = attributes.content_type.empty()
                                  ? "binary/octet-stream"
                                  : std::move(attributes.content_type);
  object->info.storage_class = "STANDARD";
  object->info.headers = std::move(attributes.headers);
  object->info.tag_count = static_cast<int>(attributes.tags.size());
  object->tags = std::move(attributes.tags);
  object->bytes = std::move(bytes);
  PutResult out{object->info.etag, object->info.version_id};
  if (options_.versioned) versions_[{key, out.version_id}] = object;
  objects_[key] = std::move(object);
  return out;
}

Future<ObjectInfo> MemoryObjectStore::Head(HeadRequest request) {
  const auto run = [&]() -> Result<ObjectInfo> {
    CKPTFS_RETURN_IF_ERROR(Enter(request.options));
    CKPTFS_RETURN_IF_ERROR(CheckKey(request.key));
    MutexLock lock(mu_);
    const ObjectPtr object = FindObject(request.key);
    if (object == nullptr) return NoSuchKey(request.key);
    return object->info;
  };
  return run();
}

Future<GetResult> MemoryObjectStore::Get(GetRequest request) {
  const auto run = [&]() -> Result<GetResult> {
    CKPTFS_RETURN_IF_ERROR(Enter(request.options));
    CKPTFS_RETURN_IF_ERROR(CheckKey(request.key));
    ObjectPtr object;
    {
      MutexLock lock(mu_);
      object = FindVersion(request.key, request.version_id);
    }
    if (object == nullptr) return NoSuchKey(request.key);
    if (!request.if_match.empty() && object->info.etag != request.if_match) {
      return ConditionFailed(request.key, "it was replaced");
    }
    GetResult out;
    out.info = object->info;
    if (request.offset < object->bytes.size()) {
      out.bytes =
          Scatter(std::string_view(object->bytes).substr(request.offset),
                  request.destination);
    }
    return out;
  };
  return run();
}

Future<PutResult> MemoryObjectStore::Put(PutRequest request) {
  const auto run = [&]() -> Result<PutResult> {
    CKPTFS_RETURN_IF_ERROR(Enter(request.options));
    CKPTFS_RETURN_IF_ERROR(CheckKey(request.key));
    CKPTFS_RETURN_IF_ERROR(CheckAttributes(request.key, request.attributes,
                                           options_.capabilities));
    if (!request.condition.empty() && !options_.capabilities.conditional_put) {
      return Fail(ErrorCode::kUnsupported, "conditional Put");
    }
    if (request.payload.size() > kMaxPutBytes) {
      return Refuse(ErrorCode::kTooLarge, 400, "EntityTooLarge", request.key,
                    "more than 5 GiB in one Put");
    }
    std::string bytes = Gather(request.payload);
    MutexLock lock(mu_);
    CKPTFS_RETURN_IF_ERROR(CheckCondition(request.key, request.condition));
    return Store(request.key, std::move(bytes), std::move(request.attributes));
  };
  return run();
}

Future<MultipartUpload> MemoryObjectStore::CreateMultipart(
    CreateMultipartRequest request) {
  const auto run = [&]() -> Result<MultipartUpload> {
    CKPTFS_RETURN_IF_ERROR(Enter(request.options));
    CKPTFS_RETURN_IF_ERROR(CheckKey(request.key));
    CKPTFS_RETURN_IF_ERROR(CheckAttributes(request.key, request.attributes,
                                           options_.capabilities));
    MutexLock lock(mu_);
    MultipartUpload out{request.key, Numbered("upload-", ++generation_)};
    uploads_[out.upload_id] =
        Upload{request.key, std::move(request.attributes), Now(), {}};
    return out;
  };
  return run();
}

Future<CompletedPart> MemoryObjectStore::UploadPart(UploadPartRequest request) {
  const auto run = [&]() -> Result<CompletedPart> {
    CKPTFS_RETURN_IF_ERROR(Enter(request.options));
    CKPTFS_RETURN_IF_ERROR(
        CheckPartNumber(request.upload.key, request.part_number));
    if (request.payload.size() > kMaxPutBytes) {
      return Refuse(ErrorCode::kTooLarge, 400, "EntityTooLarge",
                    request.upload.key, "more than 5 GiB in one part");
    }
    std::string bytes = Gather(request.payload);
    MutexLock lock(mu_);
    CKPTFS_ASSIGN_OR_RETURN(Upload * upload, FindUpload(request.upload));
    CompletedPart out{request.part_number, NextETag(), bytes.size()};
    upload->parts[request.part_number] = Part{out.etag, std::move(bytes)};
    return out;
  };
  return run();
}

Future<CompletedPart> MemoryObjectStore::UploadPartCopy(
    UploadPartCopyRequest request) {
  const auto run = [&]() -> Result<CompletedPart> {
    CKPTFS_RETURN_IF_ERROR(Enter(request.options));
    if (!options_.capabilities.upload_part_copy) {
      return Fail(ErrorCode::kUnsupported, "UploadPartCopy");
    }
    CKPTFS_RETURN_IF_ERROR(
        CheckPartNumber(request.upload.key, request.part_number));
    CKPTFS_RETURN_IF_ERROR(CheckKey(request.source_key));
    MutexLock lock(mu_);
    CKPTFS_ASSIGN_OR_RETURN(Upload * upload, FindUpload(request.upload));
    const ObjectPtr source = FindObject(request.source_key);
    if (source == nullptr) return NoSuchKey(request.source_key);
    if (!request.source_if_match.empty() &&
        source->info.etag != request.source_if_match) {
      return ConditionFailed(request.source_key, "it was replaced");
    }
    const std::uint64_t size = source->bytes.size();
    if (request.length == 0 || request.length > kMaxPutBytes ||
        request.offset >= size || request.length > size - request.offset) {
      return Refuse(ErrorCode::kInvalidArgument, 416, "InvalidRange",
                    request.source_key,
                    "the range to copy is not inside the source");
    }
    CompletedPart out{request.part_number, NextETag(), request.length};
    upload->parts[request.part_number] =
        Part{out.etag, source->bytes.substr(request.offset, request.length)};
    return out;
  };
  return run();
}

Future<PutResult> MemoryObjectStore::CompleteMultipart(
    CompleteMultipartRequest request) {
  const auto run = [&]() -> Result<PutResult> {
    CKPTFS_RETURN_IF_ERROR(Enter(request.options));
    if (!request.condition.empty() &&
        !options_.capabilities.conditional_complete) {
      return Fail(ErrorCode::kUnsupported, "conditional CompleteMultipart");
    }
    const std::string& key = request.upload.key;
    if (request.parts.empty()) {
      return Refuse(ErrorCode::kInvalidArgument, 400, "MalformedXML", key,
                    "an upload without parts");
    }
    MutexLock lock(mu_);
    const Result<Upload*> found = FindUpload(request.upload);
    if (!found) {
      // A repeated Complete whose first reply was lost finds its own object
      // there: the nonce tells.
      const ObjectPtr current = FindObject(key);
      if (!request.nonce.empty() && current != nullptr) {
        const auto nonce = current->info.metadata.find(kNonceMetadataName);
        if (nonce != current->info.metadata.end() &&
            nonce->second == request.nonce) {
          return PutResult{current->info.etag, current->info.version_id};
        }
      }
      return Fail(found.error());
    }
    Upload& upload = **found;
    std::string bytes;
    int previous = 0;
    for (std::size_t i = 0; i < request.parts.size(); ++i) {
      const CompletedPart& named = request.parts[i];
      if (named.part_number <= previous) {
        return Refuse(ErrorCode::kInvalidArgument, 400, "InvalidPartOrder", key,
                      "part numbers are not in ascending order");
      }
      previous = named.part_number;
      const auto part = upload.parts.find(named.part_number);
      if (part == upload.parts.end() || part->second.etag != named.etag) {
        return Refuse(ErrorCode::kInvalidArgument, 400, "InvalidPart", key,
                      "part " + std::to_string(named.part_number) +
                          " was not uploaded like this");
      }
      if (i + 1 < request.parts.size() &&
          part->second.bytes.size() < options_.min_part_bytes) {
        return Refuse(ErrorCode::kInvalidArgument, 400, "EntityTooSmall", key,
                      "part " + std::to_string(named.part_number) +
                          " is below the minimum size");
      }
      bytes += part->second.bytes;
    }
    // The upload stays open when the condition fails; the caller may abort it
    // or complete it otherwise (User Guide, "Conditional writes").
    CKPTFS_RETURN_IF_ERROR(CheckCondition(key, request.condition));
    PutResult out = Store(key, std::move(bytes), std::move(upload.attributes));
    uploads_.erase(request.upload.upload_id);
    return out;
  };
  return run();
}

Future<void> MemoryObjectStore::AbortMultipart(AbortMultipartRequest request) {
  const auto run = [&]() -> Result<void> {
    CKPTFS_RETURN_IF_ERROR(Enter(request.options));
    MutexLock lock(mu_);
    const Result<Upload*> found = FindUpload(request.upload);
    if (found) uploads_.erase(request.upload.upload_id);
    return {};
  };
  return run();
}

Future<ListPartsResult> MemoryObjectStore::ListParts(ListPartsRequest request) {
  const auto run = [&]() -> Result<ListPartsResult> {
    CKPTFS_RETURN_IF_ERROR(Enter(request.options));
    MutexLock lock(mu_);
    CKPTFS_ASSIGN_OR_RETURN(Upload * upload, FindUpload(request.upload));
    ListPartsResult out;
    auto it = upload->parts.upper_bound(request.part_number_marker);
    for (; it != upload->parts.end(); ++it) {
      if (out.parts.size() == static_cast<std::size_t>(options_.max_page)) {
        out.truncated = true;
        out.next_part_number_marker = out.parts.back().part_number;
        break;
      }
      out.parts.push_back(
          {it->first, it->second.etag, it->second.bytes.size()});
    }
    return out;
  };
  return run();
}

Future<ListUploadsResult> MemoryObjectStore::ListMultipartUploads(
    ListUploadsRequest request) {
  const auto run = [&]() -> Result<ListUploadsResult> {
    CKPTFS_RETURN_IF_ERROR(Enter(request.options));
    MutexLock lock(mu_);
    // By key, then by time of initiation; ids count upwards, so they are in
    // that order.
    std::map<std::pair<std::string, std::string>, WallTime> sorted;
    for (const auto& [id, upload] : uploads_) {
      sorted[{upload.key, id}] = upload.initiated;
    }
    ListUploadsResult out;
    for (const auto& [name, initiated] : sorted) {
      const auto& [key, id] = name;
      if (!key.starts_with(request.prefix)) continue;
      // Without an upload id marker, the marker's key itself is left out.
      if (!request.key_marker.empty() &&
          (key < request.key_marker ||
           (key == request.key_marker && (request.upload_id_marker.empty() ||
                                          id <= request.upload_id_marker)))) {
        continue;
      }
      if (out.uploads.size() == static_cast<std::size_t>(options_.max_page)) {
        out.truncated = true;
        out.next_key_marker = out.uploads.back().upload.key;
        out.next_upload_id_marker = out.uploads.back().upload.upload_id;
        break;
      }
      out.uploads.push_back({MultipartUpload{key, id}, initiated});
    }
    return out;
  };
  return run();
}

Future<PutResult> MemoryObjectStore::Copy(CopyRequest request) {
  const auto run = [&]() -> Result<PutResult> {
    CKPTFS_RETURN_IF_ERROR(Enter(request.options));
    CKPTFS_RETURN_IF_ERROR(CheckKey(request.source_key));
    CKPTFS_RETURN_IF_ERROR(CheckKey(request.key));
    if (request.replace_attributes) {
      CKPTFS_RETURN_IF_ERROR(CheckAttributes(
          request.key, *request.replace_attributes, options_.capabilities));
      if (!request.replace_attributes->tags.empty()) {
        return Fail(ErrorCode::kInvalidArgument,
                    "a copy takes the tags of its source");
      }
    }
    MutexLock lock(mu_);
    const ObjectPtr source = FindObject(request.source_key);
    if (source == nullptr) return NoSuchKey(request.source_key);
    if (!request.source_if_match.empty() &&
        source->info.etag != request.source_if_match) {
      return ConditionFailed(request.source_key, "it was replaced");
    }
    if (source->bytes.size() > options_.max_copy_bytes) {
      return Refuse(ErrorCode::kInvalidArgument, 400, "InvalidRequest",
                    request.source_key, "too large for one Copy");
    }
    if (request.source_key == request.key && !request.replace_attributes) {
      return Refuse(ErrorCode::kInvalidArgument, 400, "InvalidRequest",
                    request.key, "a copy onto itself must change something");
    }
    CKPTFS_RETURN_IF_ERROR(CheckCondition(request.key, request.condition));
    ObjectAttributes attributes = request.replace_attributes
                                      ? *std::move(request.replace_attributes)
                                      : source->info.attributes();
    attributes.tags = source->tags;
    return Store(request.key, source->bytes, std::move(attributes));
  };
  return run();
}

Future<void> MemoryObjectStore::Delete(DeleteRequest request) {
  const auto run = [&]() -> Result<void> {
    CKPTFS_RETURN_IF_ERROR(Enter(request.options));
    CKPTFS_RETURN_IF_ERROR(CheckKey(request.key));
    MutexLock lock(mu_);
    const ObjectPtr current = FindObject(request.key);
    if (current != nullptr && !request.if_match.empty() &&
        current->info.etag != request.if_match) {
      return ConditionFailed(request.key, "it was replaced");
    }
    objects_.erase(request.key);
    return {};
  };
  return run();
}

Future<DeleteManyResult> MemoryObjectStore::DeleteMany(
    DeleteManyRequest request) {
  const auto run = [&]() -> Result<DeleteManyResult> {
    CKPTFS_RETURN_IF_ERROR(Enter(request.options));
    DeleteManyResult out;
    MutexLock lock(mu_);
    for (const std::string& key : request.keys) {
      const Result<void> valid = CheckKey(key);
      if (!valid) {
        out.failures.push_back({key, valid.error()});
        continue;
      }
      objects_.erase(key);
    }
    return out;
  };
  return run();
}

Future<ObjectTags> MemoryObjectStore::GetTags(GetTagsRequest request) {
  const auto run = [&]() -> Result<ObjectTags> {
    CKPTFS_RETURN_IF_ERROR(Enter(request.options));
    CKPTFS_RETURN_IF_ERROR(CheckKey(request.key));
    if (!options_.capabilities.tagging) {
      return Fail(ErrorCode::kUnsupported, "GetTags");
    }
    MutexLock lock(mu_);
    const ObjectPtr object = FindVersion(request.key, request.version_id);
    if (object == nullptr) return NoSuchKey(request.key);
    return object->tags;
  };
  return run();
}

StoreCapabilities MemoryObjectStore::capabilities() const {
  return options_.capabilities;
}

std::map<std::string, std::string> MemoryObjectStore::Snapshot() const {
  MutexLock lock(mu_);
  std::map<std::string, std::string> out;
  for (const auto& [key, object] : objects_) out[key] = object->bytes;
  return out;
}

std::vector<MultipartUpload> MemoryObjectStore::OpenUploads() const {
  MutexLock lock(mu_);
  std::vector<MultipartUpload> out;
  for (const auto& [id, upload] : uploads_) out.push_back({upload.key, id});
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) {
    return std::pair(a.key, a.upload_id) < std::pair(b.key, b.upload_id);
  });
  return out;
}

std::uint64_t MemoryObjectStore::calls() const {
  MutexLock lock(mu_);
  return calls_;
}

PutResult MemoryObjectStore::PutBytes(const std::string& key,
                                      const std::string& bytes,
                                      UserMetadata metadata) {
  MutexLock lock(mu_);
  return Store(key, bytes, ObjectAttributes{std::move(metadata), {}});
}

}  // namespace ckptfs
