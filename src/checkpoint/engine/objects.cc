#include "checkpoint/engine/objects.h"

#include <utility>

#include "transfer/object_writer.h"

namespace ckptfs {

namespace {

std::string UriOf(const std::string& bucket, const std::string& key) {
  return "s3://" + bucket + "/" + key;
}

}  // namespace

Result<ObjectStore*> Objects::StoreOf(const std::string& bucket) {
  if (bucket.empty()) {
    return Fail(ErrorCode::kInvalidArgument,
                "no bucket is named; write s3://bucket/key");
  }
  return runtime_.StoreOf(bucket, "");
}

Task<Result<ListResult>> Objects::ListPage(std::string bucket,
                                           ListRequest request) {
  const Result<ObjectStore*> store = StoreOf(bucket);
  CKPTFS_CO_RETURN_IF_ERROR(store);
  const std::string uri = UriOf(bucket, request.prefix);
  Result<ListResult> page = co_await (*store)->List(std::move(request));
  if (!page) co_return Fail(page.error().WithContext("list " + uri));
  co_return page;
}

Task<Result<ObjectInfo>> Objects::Info(std::string bucket, std::string key,
                                       std::stop_token stop) {
  const Result<ObjectStore*> store = StoreOf(bucket);
  CKPTFS_CO_RETURN_IF_ERROR(store);
  const std::string uri = UriOf(bucket, key);
  HeadRequest head;
  head.key = std::move(key);
  head.options.stop = std::move(stop);
  Result<ObjectInfo> info = co_await (*store)->Head(std::move(head));
  if (!info) co_return Fail(info.error().WithContext(uri));
  co_return info;
}

Task<Result<void>> Objects::Copy(std::string bucket, std::string from,
                                 std::string to) {
  const Result<ObjectStore*> store = StoreOf(bucket);
  CKPTFS_CO_RETURN_IF_ERROR(store);
  const std::string context =
      "copy " + UriOf(bucket, from) + " to " + UriOf(bucket, to);
  HeadRequest head;
  head.key = std::move(from);
  Result<ObjectInfo> source = co_await (*store)->Head(std::move(head));
  if (!source) co_return Fail(source.error().WithContext(context));
  WriteCondition unconditional;
  CopyOptions options;
  Result<ObjectInfo> copied =
      co_await CopyObject(**store, runtime_.strand(), *std::move(source),
                          std::move(to), std::move(unconditional), options);
  if (!copied) co_return Fail(copied.error().WithContext(context));
  co_return Result<void>();
}

Task<Result<void>> Objects::RemoveAll(std::string bucket,
                                      std::vector<std::string> keys,
                                      std::stop_token stop) {
  const Result<ObjectStore*> store = StoreOf(bucket);
  CKPTFS_CO_RETURN_IF_ERROR(store);
  if (keys.empty()) co_return Result<void>();
  DeleteManyRequest request;
  request.keys = std::move(keys);
  request.options.stop = std::move(stop);
  Result<DeleteManyResult> removed =
      co_await (*store)->DeleteMany(std::move(request));
  if (!removed) {
    co_return Fail(removed.error().WithContext("remove from s3://" + bucket));
  }
  if (!removed->failures.empty()) {
    const DeleteManyResult::Failure& first = removed->failures.front();
    co_return Fail(first.error.WithContext(
        std::to_string(removed->failures.size()) +
        " objects could not be removed, first " + UriOf(bucket, first.key)));
  }
  co_return Result<void>();
}

}  // namespace ckptfs
