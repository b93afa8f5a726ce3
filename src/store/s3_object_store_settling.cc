// S3ObjectStore: what has become of an object, where a reply does not tell it.
#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "s3/uri.h"
#include "store/s3_object_store.h"

namespace ckptfs {

namespace {

constexpr std::chrono::seconds kSettleTime{20};

}  // namespace

std::string S3ObjectStore::NonceOf(const UserMetadata& metadata) {
  const auto it = metadata.find(kNonceMetadataName);
  return it != metadata.end() ? it->second : std::string();
}

Error S3ObjectStore::Replaced(const std::string& key,
                              const ETag& wanted) const {
  Error::Detail detail;
  detail.message = client_.endpoint().Uri(key) +
                   ": the object is no longer version " + wanted.value;
  detail.key = key;
  return Error(ErrorCode::kPreconditionFailed, std::move(detail));
}

Task<Result<PutResult>> S3ObjectStore::Settle(std::string key,
                                              std::string nonce,
                                              std::optional<std::uint64_t> size,
                                              S3Failure failure,
                                              CallContext context) {
  if (nonce.empty()) {
    co_return Fail(failure.error.WithContext(
        "the reply to an earlier attempt was lost, so this may be the echo of "
        "its success"));
  }
  // The time of the write itself may be over; this is the last chance to learn
  // what its caller must know.
  context.deadline =
      std::max(context.deadline, client_.clock().Now() + kSettleTime);
  Task<Result<ObjectInfo>> look =
      HeadPinned(key, ETag(), std::string(), context);
  Result<ObjectInfo> head = co_await std::move(look);
  if (!head.has_value()) {
    if (head.error().code() == ErrorCode::kNotFound) {
      co_return Fail(failure.error);
    }
    Error::Detail unknown;
    unknown.message = failure.error.message() +
                      "; whether S3 has carried it out is not known: " +
                      head.error().message();
    unknown.http_status = failure.error.http_status();
    unknown.s3_code = failure.error.s3_code();
    unknown.request_id = failure.error.request_id();
    unknown.key = key;
    co_return Fail(Error(ErrorCode::kOutcomeUnknown, std::move(unknown)));
  }
  if (NonceOf(head->metadata) == nonce &&
      (!size.has_value() || *size == head->size)) {
    co_return PutResult{head->etag, head->version_id};
  }
  if (failure.error_class != ErrorClass::kGone) co_return Fail(failure.error);
  Error::Detail detail;
  detail.message = client_.endpoint().Uri(key) +
                   ": the upload is gone and the object is another writer's, "
                   "so this write was completed and then replaced, or aborted";
  detail.http_status = failure.error.http_status();
  detail.s3_code = failure.error.s3_code();
  detail.request_id = failure.error.request_id();
  detail.key = key;
  co_return Fail(Error(ErrorCode::kConflict, std::move(detail)));
}

Task<Result<PutResult>> S3ObjectStore::LookForETag(
    std::string key, std::string nonce, std::optional<std::uint64_t> size,
    CallContext context) {
  Task<Result<ObjectInfo>> look =
      HeadPinned(key, ETag(), std::string(), context);
  Result<ObjectInfo> head = co_await std::move(look);
  if (!head.has_value() && head.error().code() != ErrorCode::kNotFound) {
    co_return Fail(head.error().WithContext(
        "looking for the ETag of a write whose reply did not tell it"));
  }
  Error::Detail detail;
  detail.message = client_.endpoint().Uri(key);
  detail.key = key;
  if (!head.has_value() || (size.has_value() && *size != head->size) ||
      (!nonce.empty() && NonceOf(head->metadata) != nonce)) {
    detail.message += ": written, but replaced or deleted since";
    co_return Fail(Error(ErrorCode::kConflict, std::move(detail)));
  }
  if (head->etag.empty()) {
    detail.message += ": the server tells no ETag";
    co_return Fail(Error(ErrorCode::kDataLoss, std::move(detail)));
  }
  co_return PutResult{head->etag, head->version_id};
}

Task<Result<void>> S3ObjectStore::CheckStill(std::string key, ETag wanted,
                                             CallContext context) {
  if (wanted.empty()) co_return Result<void>();
  Task<Result<ObjectInfo>> look =
      HeadPinned(key, wanted, std::string(), context);
  Result<ObjectInfo> head = co_await std::move(look);
  // A source may be deleted as soon as it has been copied.
  if (!head.has_value() && head.error().code() != ErrorCode::kNotFound) {
    co_return Fail(head.error());
  }
  co_return Result<void>();
}

Task<Result<S3ObjectStore::SourceDecoding>> S3ObjectStore::DecodingOf(
    std::string key, CallContext context) {
  if (key.find('%') == std::string::npos) co_return SourceDecoding::kOnce;
  const SourceDecoding known = source_decoding_;
  if (known != SourceDecoding::kUnknown) co_return known;
  const std::string twin = UriEncode(key, true);
  // No object has a name that is too long.
  if (twin.size() > 1024) co_return SourceDecoding::kUnknown;
  Task<Result<ObjectInfo>> look =
      HeadPinned(twin, ETag(), std::string(), context);
  Result<ObjectInfo> head = co_await std::move(look);
  if (!head.has_value() && head.error().code() == ErrorCode::kNotFound) {
    co_return SourceDecoding::kUnknown;
  }
  // Forbidden to look is what AWS and its like say of absent keys to those who
  // may not list; they decode once.
  if (!head.has_value() &&
      head.error().code() == ErrorCode::kPermissionDenied) {
    co_return SourceDecoding::kOnce;
  }
  if (!head.has_value()) co_return Fail(head.error());
  Error::Detail detail;
  detail.message = client_.endpoint().Uri(key) + ": next to " +
                   client_.endpoint().Uri(twin) +
                   ", the server may take one for the other as the source of "
                   "a part; rename one of them";
  detail.key = key;
  co_return Fail(Error(ErrorCode::kUnsupported, std::move(detail)));
}

}  // namespace ckptfs
