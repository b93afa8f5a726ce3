// S3ObjectStore: what has become of an object, where a reply does not tell it.
#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "s3/interruptible_sleep.h"
#include "s3/range_download.h"
#include "s3/tagging_calls.h"
#include "s3/uri.h"
#include "store/s3_object_store.h"

namespace ckptfs {

namespace {

// One look at an object that decides about a write.
constexpr Duration kPatientLook = std::chrono::seconds(30);
// The same where the caller has asked to stop, or wants no more time spent.
constexpr Duration kHurriedLook = std::chrono::seconds(5);
constexpr Duration kBetweenLooks = std::chrono::seconds(1);

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

Error S3ObjectStore::Unknown(const Error& failure, const std::string& why) {
  Error::Detail unknown;
  unknown.message = failure.message() +
                    "; whether S3 has carried it out is not known: " + why;
  unknown.http_status = failure.http_status();
  unknown.s3_code = failure.s3_code();
  unknown.request_id = failure.request_id();
  unknown.key = failure.key();
  return Error(ErrorCode::kOutcomeUnknown, std::move(unknown));
}

Task<Result<PutResult>> S3ObjectStore::LookUntilKnown(std::string key,
                                                      Reading reading,
                                                      S3Outcome outcome,
                                                      CallContext context) {
  Clock& clock = client_.clock();
  const SteadyTime too_late =
      outcome.open_since + client_.options().late_effect;
  while (true) {
    // The caller's stop may have come, or his time be over: this is the last
    // chance to learn what he must know.
    const bool hurry =
        context.stop.stop_requested() || context.deadline <= clock.Now();
    CallContext look;
    look.stop = stop_.get_token();
    look.deadline = clock.Now() + (hurry ? kHurriedLook : kPatientLook);
    Task<Result<ObjectInfo>> looking =
        HeadPinned(key, ETag(), std::string(), look);
    Result<ObjectInfo> head = co_await std::move(looking);
    if (!head.has_value() && head.error().code() != ErrorCode::kNotFound) {
      co_return Fail(Unknown(outcome.failure->error, head.error().message()));
    }
    std::optional<Result<PutResult>> said =
        reading(head.has_value() ? &*head : nullptr);
    if (said.has_value()) co_return *std::move(said);
    if (clock.Now() >= too_late) co_return Fail(outcome.failure->error);
    if (hurry) {
      co_return Fail(
          Unknown(outcome.failure->error, "not so far, but it may still"));
    }
    InterruptibleSleep sleep(clock, kBetweenLooks, client_.executor(),
                             context.stop);
    Future<void> woken = sleep.Done();
    Result<void> slept = co_await std::move(woken);
    (void)slept;
  }
}

std::optional<Result<PutResult>> S3ObjectStore::ReadMark(
    const WriteMark& mark, const S3Failure& failure, const ObjectInfo* there) {
  const bool same_nonce = there != nullptr && !mark.nonce.empty() &&
                          NonceOf(there->metadata) == mark.nonce &&
                          (!mark.size.has_value() || *mark.size == there->size);
  const bool same_attributes =
      there != nullptr && mark.attributes.has_value() &&
      there->metadata == mark.attributes->metadata &&
      (mark.attributes->content_type.empty() ||
       mark.attributes->content_type == there->content_type);
  // A copy onto itself may keep the nonce of the version before.
  const bool ours = mark.attributes.has_value()
                        ? same_attributes && (mark.nonce.empty() || same_nonce)
                        : same_nonce;
  if (ours) return PutResult{there->etag, there->version_id};

  const ETag& if_match = mark.condition.if_match;
  const bool still_the_base = there != nullptr && !if_match.empty() &&
                              SameETag(there->etag.value, if_match.value);
  const bool recognisable =
      there == nullptr || still_the_base ||
      (mark.attributes.has_value() ? !mark.nonce.empty() && !same_nonce
                                   : !mark.nonce.empty());
  if (!recognisable) {
    return Fail(Unknown(failure.error,
                        "the object does not tell which request made it"));
  }
  if (failure.error_class == ErrorClass::kGone) {
    Error::Detail detail;
    detail.message = failure.error.message() +
                     "; the upload is gone, and the object is not what it "
                     "would have made: this write was completed and then "
                     "replaced, or aborted";
    detail.http_status = failure.error.http_status();
    detail.s3_code = failure.error.s3_code();
    detail.request_id = failure.error.request_id();
    detail.key = mark.key;
    return Fail(Error(ErrorCode::kConflict, std::move(detail)));
  }
  // What its condition rules out cannot happen any more.
  if ((mark.condition.if_none_match && there != nullptr) ||
      (!if_match.empty() && !still_the_base)) {
    return Fail(failure.error);
  }
  return std::nullopt;
}

Task<Result<PutResult>> S3ObjectStore::Settle(WriteMark mark, S3Outcome outcome,
                                              CallContext context) {
  if (!outcome.maybe_executed) co_return Fail(outcome.failure->error);
  std::string key = mark.key;
  Reading reading = [mark = std::move(mark),
                     failure = *outcome.failure](const ObjectInfo* there) {
    return ReadMark(mark, failure, there);
  };
  Task<Result<PutResult>> looking = LookUntilKnown(
      std::move(key), std::move(reading), std::move(outcome), context);
  Result<PutResult> settled = co_await std::move(looking);
  co_return settled;
}

Task<Result<void>> S3ObjectStore::SettleDelete(std::string key, ETag if_match,
                                               S3Outcome outcome,
                                               CallContext context) {
  const Error error = outcome.failure->error;
  // AWS answers 204 for an absent key, with If-Match 404; some stores 404 in
  // any case.
  if (error.code() == ErrorCode::kNotFound &&
      error.s3_code() != "NoSuchBucket") {
    co_return Result<void>();
  }
  // A failed condition may be the echo of an earlier attempt's success, where
  // absent keys are answered with 412.
  const bool condition = error.code() == ErrorCode::kPreconditionFailed;
  if (!outcome.maybe_executed && !condition) co_return Fail(error);
  const bool open = outcome.maybe_executed;
  const Error replaced = Replaced(key, if_match);
  Reading reading =
      [if_match, replaced, error,
       open](const ObjectInfo* there) -> std::optional<Result<PutResult>> {
    if (there == nullptr) return PutResult{};
    if (!if_match.empty() && !SameETag(there->etag.value, if_match.value)) {
      return Fail(replaced);
    }
    if (!open) return Fail(error);
    return std::nullopt;
  };
  Task<Result<PutResult>> looking = LookUntilKnown(
      std::move(key), std::move(reading), std::move(outcome), context);
  Result<PutResult> settled = co_await std::move(looking);
  if (settled.has_value()) co_return Result<void>();
  // Whatever became of it, the key is not `if_match` any more.
  if (condition && settled.error().code() == ErrorCode::kOutcomeUnknown) {
    co_return Fail(error);
  }
  co_return Fail(settled.error());
}

Task<Result<PutResult>> S3ObjectStore::LookForETag(
    std::string key, std::string nonce, std::optional<std::uint64_t> size,
    CallContext context) {
  Task<Result<ObjectInfo>> look =
      HeadPinned(key, ETag(), std::string(), context);
  Result<ObjectInfo> head = co_await std::move(look);
  if (!head.has_value() && head.error().code() != ErrorCode::kNotFound) {
    co_return Fail(
        Unknown(head.error(), "it was written, by a reply that tells no ETag"));
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
