#include "transfer/object_delete.h"

#include <utility>

#include "transfer/may_have_happened.h"

namespace ckptfs {

Task<Result<void>> SettledDelete(ObjectStore& store, std::string key,
                                 ETag version) {
  DeleteRequest request;
  request.key = key;
  request.if_match = version;
  Result<void> deleted = co_await store.Delete(std::move(request));
  if (deleted || !MayHaveHappened(deleted.error())) co_return deleted;
  HeadRequest look;
  look.key = key;
  Result<ObjectInfo> now = co_await store.Head(std::move(look));
  if (now) {
    if (version.empty() || now->etag == version) co_return deleted;
    co_return Fail(ErrorCode::kPreconditionFailed,
                   key + " is another object by now");
  }
  if (now.error().code() == ErrorCode::kNotFound) co_return Result<void>();
  co_return Fail(
      ErrorCode::kOutcomeUnknown,
      deleted.error().message() +
          "; whether S3 has removed it is not known: " + now.error().message());
}

}  // namespace ckptfs
