// CopyObject: server-side copies of any size.
#include <algorithm>
#include <utility>

#include "transfer/object_writer.h"
#include "transfer/part_plan.h"

namespace ckptfs {
namespace {

Task<Result<ObjectInfo>> CopyWhole(ObjectStore& store, std::string source_key,
                                   ETag source_etag, std::uint64_t source_size,
                                   std::string key, WriteCondition condition) {
  CopyRequest request;
  request.source_key = source_key;
  request.source_if_match = source_etag;
  request.key = key;
  request.condition = std::move(condition);
  Result<PutResult> copied = co_await store.Copy(std::move(request));
  if (!copied) {
    co_return Fail(
        copied.error().WithContext("copy of " + source_key + " to " + key));
  }
  ObjectInfo info;
  info.key = std::move(key);
  info.size = source_size;
  info.etag = std::move(copied->etag);
  info.version_id = std::move(copied->version_id);
  co_return info;
}

// An upload does not take over the attributes of what its parts are copied
// from: they are read and sent again.
Task<Result<ObjectInfo>> CopyByParts(ObjectStore& store, Executor& executor,
                                     std::string source_key, ETag source_etag,
                                     std::string key, WriteCondition condition,
                                     CopyOptions options) {
  HeadRequest head;
  head.key = source_key;
  Result<ObjectInfo> source = co_await store.Head(std::move(head));
  if (!source) {
    co_return Fail(source.error().WithContext("copy of " + source_key));
  }
  if (!source_etag.empty() && source->etag != source_etag) {
    co_return Fail(ErrorCode::kPreconditionFailed,
                   "copy of " + source_key + ": it was replaced");
  }
  const Result<PartPlan> plan =
      PartPlan::ForSize(source->size, options.part_bytes);
  CKPTFS_CO_RETURN_IF_ERROR(plan);
  ObjectAttributes attributes;
  attributes.metadata = source->metadata;
  attributes.content_type = source->content_type;
  ObjectWriterOptions writer_options;
  writer_options.max_parts_in_flight = options.max_parts_in_flight;
  ObjectWriter writer(store, executor, writer_options);
  writer.Begin(std::move(key), std::move(attributes));
  std::uint64_t offset = 0;
  for (int part = 1; offset < source->size; ++part) {
    const std::uint64_t length =
        std::min(plan->Size(part), source->size - offset);
    // The writer keeps a part's error for Complete.
    writer.CopyPart(part, source_key, source->etag, offset, length, nullptr);
    offset += length;
  }
  Result<ObjectInfo> info = co_await writer.Complete(std::move(condition));
  co_return info;
}

}  // namespace

Task<Result<ObjectInfo>> CopyObject(ObjectStore& store, Executor& executor,
                                    std::string source_key, ETag source_etag,
                                    std::uint64_t source_size, std::string key,
                                    WriteCondition condition,
                                    CopyOptions options) {
  const bool by_parts = source_size > 0 &&
                        source_size > options.max_single_bytes &&
                        store.capabilities().upload_part_copy;
  if (by_parts) {
    return CopyByParts(store, executor, std::move(source_key),
                       std::move(source_etag), std::move(key),
                       std::move(condition), options);
  }
  return CopyWhole(store, std::move(source_key), std::move(source_etag),
                   source_size, std::move(key), std::move(condition));
}

}  // namespace ckptfs
