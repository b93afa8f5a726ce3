// S3ObjectStore: what has become of an object, where a reply does not tell it.
#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "s3/range_download.h"
#include "s3/tagging_calls.h"
#include "s3/uri.h"
#include "store/s3_object_store.h"

namespace ckptfs {

namespace {

constexpr std::chrono::seconds kSettleTime{20};

Error OutcomeUnknown(const std::string& key, const Error& failure,
                     const Error& look) {
  Error::Detail unknown;
  unknown.message =
      failure.message() +
      "; whether S3 has carried it out is not known: " + look.message();
  unknown.http_status = failure.http_status();
  unknown.s3_code = failure.s3_code();
  unknown.request_id = failure.request_id();
  unknown.key = key;
  return Error(ErrorCode::kOutcomeUnknown, std::move(unknown));
}

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
    co_return Fail(head.error().code() == ErrorCode::kNotFound
                       ? failure.error
                       : OutcomeUnknown(key, failure.error, head.error()));
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

Task<Result<void>> S3ObjectStore::SettleDelete(std::string key, ETag if_match,
                                               S3Outcome outcome,
                                               CallContext context) {
  const Error& error = outcome.failure->error;
  // AWS answers 204 for an absent key, with If-Match 404; some stores 404 in
  // any case.
  if (error.code() == ErrorCode::kNotFound &&
      error.s3_code() != "NoSuchBucket") {
    co_return Result<void>();
  }
  const bool condition = error.code() == ErrorCode::kPreconditionFailed;
  if (!outcome.reconcile && !condition) co_return Fail(error);
  // A failed condition may be the echo of an earlier attempt's success, where
  // absent keys are answered with 412.
  if (outcome.reconcile) {
    context.deadline =
        std::max(context.deadline, client_.clock().Now() + kSettleTime);
  }
  Task<Result<ObjectInfo>> look =
      HeadPinned(key, ETag(), std::string(), context);
  Result<ObjectInfo> head = co_await std::move(look);
  if (!head.has_value()) {
    if (head.error().code() == ErrorCode::kNotFound) co_return Result<void>();
    // Whatever became of it, the key is not `if_match` any more.
    co_return Fail(condition ? error
                             : OutcomeUnknown(key, error, head.error()));
  }
  if (!if_match.empty() && !SameETag(head->etag.value, if_match.value)) {
    co_return Fail(Replaced(key, if_match));
  }
  co_return Fail(error);
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

Result<void> S3ObjectStore::CheckTags(
    const std::string& key, const ObjectAttributes& attributes) const {
  if (attributes.tags.empty() || !without_tags_) return {};
  return Fail(NoTags(key));
}

Error S3ObjectStore::NoTags(const std::string& key) const {
  Error::Detail detail;
  detail.message = client_.endpoint().Uri(key) + ": " +
                   client_.endpoint().origin() + " has no tags";
  detail.key = key;
  return Error(ErrorCode::kUnsupported, std::move(detail));
}

Task<Result<ObjectTags>> S3ObjectStore::RunGetTags(GetTagsRequest request,
                                                   CallContext context) {
  Result<S3Request> get = BuildGetTags(request);
  CKPTFS_CO_RETURN_IF_ERROR(get);
  Task<S3Outcome> execution = client_.Execute(*std::move(get), context);
  S3Outcome outcome = co_await std::move(execution);
  if (outcome.failure.has_value()) {
    const Error& error = outcome.failure->error;
    // Of objects without tags, on some stores.
    if (error.s3_code() == "NoSuchTagSet") co_return ObjectTags();
    if (error.code() == ErrorCode::kUnsupported) without_tags_ = true;
    co_return Fail(error);
  }
  Result<ObjectTags> tags = ParseTags(outcome.response);
  if (!tags.has_value()) {
    // rclone serves the object.
    without_tags_ = true;
    co_return Fail(NoTags(request.key));
  }
  co_return tags;
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
