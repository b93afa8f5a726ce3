#include "cli/store_check.h"

#include <utility>

namespace ckptfs::cli {

Result<void> CheckStore(ObjectStore& store, const std::string& prefix) {
  ListRequest request;
  request.prefix = prefix;
  request.max_keys = 1;
  request.options.deadline = kStoreCheckDeadline;
  const Result<ListResult> listed = store.List(std::move(request)).Get();
  if (listed.has_value()) return {};
  const Error& error = listed.error();
  if (error.code() == ErrorCode::kPermissionDenied) {
    return Fail(error.WithContext(
        "listing is not allowed; a mount needs s3:ListBucket"));
  }
  return Fail(error);
}

}  // namespace ckptfs::cli
