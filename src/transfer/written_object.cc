#include "transfer/written_object.h"

#include <chrono>
#include <utility>

namespace ckptfs {
namespace {

// Somebody waits for the error that led here.
constexpr std::chrono::seconds kRequestDeadline{10};

}  // namespace

Task<Result<std::optional<ObjectInfo>>> FindWritten(ObjectStore& store,
                                                    std::string key,
                                                    std::string nonce,
                                                    std::uint64_t size) {
  HeadRequest request;
  request.key = std::move(key);
  request.options.deadline = kRequestDeadline;
  Result<ObjectInfo> head = co_await store.Head(std::move(request));
  std::optional<ObjectInfo> found;
  if (!head) {
    if (head.error().code() == ErrorCode::kNotFound) co_return found;
    co_return Fail(head.error());
  }
  const auto there = head->metadata.find(kNonceMetadataName);
  if (there != head->metadata.end() && there->second == nonce &&
      head->size == size) {
    found = *std::move(head);
  }
  co_return found;
}

Error WithoutEffect(const Error& error) {
  if (error.code() != ErrorCode::kOutcomeUnknown) return error;
  Error::Detail detail;
  detail.message = error.message();
  detail.http_status = error.http_status();
  detail.s3_code = error.s3_code();
  detail.request_id = error.request_id();
  detail.key = error.key();
  return Error(ErrorCode::kUnavailable, std::move(detail));
}

}  // namespace ckptfs
