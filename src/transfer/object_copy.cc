// CopyObject: server-side copies of any size.
#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

#include "common/log.h"
#include "transfer/may_have_happened.h"
#include "transfer/object_writer.h"
#include "transfer/part_plan.h"

namespace ckptfs {
namespace {

// Somebody waits for the error that led there.
constexpr std::chrono::seconds kLookDeadline{10};

// True if `there` is what a copy of `source` makes. If it was so before, the
// copy has changed nothing.
bool IsCopyOf(const ObjectInfo& source, const ObjectInfo& there) {
  return there.size == source.size && there.metadata == source.metadata &&
         there.content_type == source.content_type &&
         (source.metadata.contains(kNonceMetadataName) ||
          there.etag == source.etag);
}

Task<Result<ObjectInfo>> CopyWhole(ObjectStore& store, ObjectInfo source,
                                   std::string key, WriteCondition condition) {
  CopyRequest request;
  request.source_key = source.key;
  request.source_if_match = source.etag;
  request.key = key;
  request.condition = std::move(condition);
  const auto nonce = source.metadata.find(kNonceMetadataName);
  if (nonce != source.metadata.end()) request.nonce = nonce->second;
  Result<PutResult> copied = co_await store.Copy(std::move(request));
  if (!copied && MayHaveHappened(copied.error())) {
    HeadRequest look;
    look.key = key;
    look.options.deadline = kLookDeadline;
    Result<ObjectInfo> there = co_await store.Head(std::move(look));
    if (there && IsCopyOf(source, *there)) {
      copied = PutResult{there->etag, there->version_id};
    }
  }
  if (!copied) {
    co_return Fail(
        copied.error().WithContext("copy of " + source.key + " to " + key));
  }
  ObjectInfo info = std::move(source);
  info.key = std::move(key);
  info.etag = std::move(copied->etag);
  info.version_id = std::move(copied->version_id);
  info.last_modified = {};
  co_return info;
}

// What the source carries besides its bytes, for an upload: that takes nothing
// over from what its parts are copied from. Tags and metadata may have changed
// since `source` was read, without a new ETag.
Task<Result<ObjectAttributes>> AttributesOf(ObjectStore& store,
                                            ObjectInfo source) {
  HeadRequest look;
  look.key = source.key;
  Result<ObjectInfo> now = co_await store.Head(std::move(look));
  if (!now) co_return Fail(now.error().WithContext("copy of " + source.key));
  if (now->etag != source.etag) {
    co_return Fail(Error(ErrorCode::kPreconditionFailed,
                         "copy of " + source.key + ": it was replaced"));
  }
  ObjectAttributes attributes = now->attributes();
  if (now->tag_count == 0) co_return attributes;
  GetTagsRequest get;
  get.key = source.key;
  Result<ObjectTags> tags = co_await store.GetTags(std::move(get));
  if (!tags) {
    co_return Fail(tags.error().WithContext(
        source.key +
        " has tags, which a copy in parts must read to keep them"));
  }
  attributes.tags = *std::move(tags);
  co_return attributes;
}

Task<Result<ObjectInfo>> CopyByParts(ObjectStore& store, Executor& executor,
                                     ObjectInfo source, std::string key,
                                     WriteCondition condition,
                                     CopyOptions options) {
  const Result<PartPlan> plan =
      PartPlan::ForSize(source.size, options.part_bytes);
  CKPTFS_CO_RETURN_IF_ERROR(plan);
  Result<ObjectAttributes> attributes = co_await AttributesOf(store, source);
  CKPTFS_CO_RETURN_IF_ERROR(attributes);
  ObjectWriterOptions writer_options;
  writer_options.max_parts_in_flight = options.max_parts_in_flight;
  ObjectWriter writer(store, executor, writer_options);
  const std::size_t tags = attributes->tags.size();
  writer.Begin(key, *std::move(attributes));
  std::uint64_t offset = 0;
  for (int part = 1; offset < source.size; ++part) {
    const std::uint64_t length =
        std::min(plan->Size(part), source.size - offset);
    // The writer keeps a part's error for Complete.
    writer.CopyPart(part, source.key, source.etag, offset, length, nullptr);
    offset += length;
  }
  Result<ObjectInfo> info = co_await writer.Complete(std::move(condition));
  if (!info || tags == 0) co_return info;
  // radosgw 16 takes tags for an upload and forgets them.
  HeadRequest look;
  look.key = key;
  Result<ObjectInfo> made = co_await store.Head(std::move(look));
  if (made && made->etag == info->etag) {
    info->tag_count = made->tag_count;
    if (made->tag_count == 0) {
      LogWarning("the store has not kept the " + std::to_string(tags) +
                 " tags of " + source.key + " in its copy " + key);
    }
  }
  co_return info;
}

}  // namespace

Task<Result<ObjectInfo>> CopyObject(ObjectStore& store, Executor& executor,
                                    ObjectInfo source, std::string key,
                                    WriteCondition condition,
                                    CopyOptions options) {
  const bool by_parts = source.size > 0 &&
                        source.size > options.max_single_bytes &&
                        store.capabilities().upload_part_copy;
  if (by_parts) {
    return CopyByParts(store, executor, std::move(source), std::move(key),
                       std::move(condition), options);
  }
  return CopyWhole(store, std::move(source), std::move(key),
                   std::move(condition));
}

}  // namespace ckptfs
