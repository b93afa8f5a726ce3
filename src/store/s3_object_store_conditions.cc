// S3ObjectStore: what carries a condition on the object that it replaces or
// deletes, and what endpoints make of such conditions.
#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "common/log.h"
#include "s3/copy_calls.h"
#include "s3/delete_calls.h"
#include "s3/object_calls.h"
#include "s3/range_download.h"
#include "s3/tagging_calls.h"
#include "store/s3_object_store.h"

namespace ckptfs {

namespace {

// No object has it: of an object's MD5 one in 2^128, of parts none.
constexpr char kNoVersion[] = "\"00000000000000000000000000000000\"";

// The endpoint turned the request down over what it does not know: some answer
// 501 to If-Match, others 400 with one of many codes. What else 400 may mean,
// the same request without the condition shows.
bool MayRefuseCondition(const Error& error) {
  if (error.code() == ErrorCode::kUnsupported) return true;
  return error.http_status() == 400 &&
         error.code() == ErrorCode::kInvalidArgument;
}

bool IsAbsent(const Error& error) {
  return error.code() == ErrorCode::kNotFound &&
         error.s3_code() != "NoSuchBucket";
}

}  // namespace

StoreCapabilities S3ObjectStore::capabilities() const {
  StoreCapabilities out;
  out.conditional_copy = conditional_copy_ != Support::kNo;
  out.conditional_delete = conditional_delete_ != Support::kNo;
  out.tagging = !without_tags_;
  return out;
}

Task<S3Outcome> S3ObjectStore::ExecuteIfMatch(S3Request request, ETag if_match,
                                              CallContext context) {
  std::optional<S3Request> unquoted;  // to be tried when the first one fails
  if (!if_match.empty()) {
    S3Request bare = request;
    bare.headers.Set("If-Match", std::string(Unquoted(if_match.value)));
    if (bare_if_match_) {
      request = std::move(bare);
    } else {
      unquoted = std::move(bare);
    }
  }
  const std::string key = request.key;
  Task<S3Outcome> execution = client_.Execute(std::move(request), context);
  S3Outcome outcome = co_await std::move(execution);
  if (!unquoted.has_value() || !outcome.failure.has_value() ||
      outcome.failure->error.http_status() != 412) {
    unquoted.reset();  // it holds the caller's memory
    co_return outcome;
  }
  // radosgw compares If-Match of PutObject, quotes and all, with an ETag that
  // it keeps without quotes. The repetition is as conditional.
  Task<Result<ObjectInfo>> look =
      HeadPinned(key, if_match, std::string(), context);
  Result<ObjectInfo> head = co_await std::move(look);
  if (!head.has_value()) {
    unquoted.reset();
    co_return outcome;
  }
  Task<S3Outcome> again = client_.Execute(*std::move(unquoted), context);
  S3Outcome second = co_await std::move(again);
  unquoted.reset();
  if (!second.failure.has_value()) bare_if_match_ = true;
  if (second.failure.has_value() && outcome.maybe_executed &&
      !second.maybe_executed) {
    second.maybe_executed = true;
    second.open_since = outcome.open_since;
  }
  co_return second;
}

Task<Result<PutResult>> S3ObjectStore::RunPut(PutRequest request,
                                              CallContext context) {
  CKPTFS_CO_RETURN_IF_ERROR(CheckTags(request.key, request.attributes));
  const std::string nonce = NonceOf(request.attributes.metadata);
  const std::uint64_t size = request.payload.size();
  Result<S3Request> put = BuildPut(request);
  CKPTFS_CO_RETURN_IF_ERROR(put);
  Task<S3Outcome> execution =
      ExecuteIfMatch(*std::move(put), request.condition.if_match, context);
  S3Outcome outcome = co_await std::move(execution);
  if (!outcome.failure.has_value()) co_return ParsePut(outcome.response);
  WriteMark mark;
  mark.key = request.key;
  mark.nonce = nonce;
  mark.size = size;
  mark.condition = request.condition;
  Task<Result<PutResult>> settling =
      Settle(std::move(mark), std::move(outcome), context);
  Result<PutResult> settled = co_await std::move(settling);
  co_return settled;
}

Task<Result<int>> S3ObjectStore::CheckDestination(std::string key,
                                                  WriteCondition condition,
                                                  CallContext context) {
  Task<Result<ObjectInfo>> look =
      HeadPinned(key, condition.if_match, std::string(), context);
  Result<ObjectInfo> head = co_await std::move(look);
  const bool absent = !head.has_value() && IsAbsent(head.error());
  if (!head.has_value() && !absent) co_return Fail(head.error());
  if (absent && !condition.if_match.empty()) {
    co_return Fail(Replaced(key, condition.if_match));
  }
  if (!absent && condition.if_none_match) {
    Error::Detail detail;
    detail.message = client_.endpoint().Uri(key) + ": the object exists";
    detail.key = key;
    co_return Fail(Error(ErrorCode::kPreconditionFailed, std::move(detail)));
  }
  co_return absent ? 0 : head->tag_count;
}

Task<void> S3ObjectStore::RestoreTags(std::string key, ETag etag,
                                      ObjectTags tags, CallContext context) {
  Task<Result<ObjectInfo>> look = HeadPinned(key, etag, std::string(), context);
  Result<ObjectInfo> head = co_await std::move(look);
  // Kept, as by S3, or another version already.
  if (head.has_value() && head->tag_count > 0) co_return;
  std::optional<Error> error;
  if (!head.has_value()) {
    error = head.error();
  } else {
    Result<S3Request> put = BuildPutTags(key, tags);
    if (!put.has_value()) co_return;
    Task<S3Outcome> execution = client_.Execute(*std::move(put), context);
    S3Outcome outcome = co_await std::move(execution);
    if (outcome.failure.has_value()) error = outcome.failure->error;
  }
  if (error.has_value()) {
    LogWarning("the tags of " + client_.endpoint().Uri(key) +
               " were lost in a copy: " + error->ToString());
  }
}

Task<Result<PutResult>> S3ObjectStore::RunCopy(CopyRequest request,
                                               CallContext context) {
  const std::string& bucket = client_.endpoint().bucket();
  CopyRequest plain = request;
  plain.condition = WriteCondition();
  // The condition on the source is settled when the copy begins, that on the
  // destination when it ends.
  if (request.condition.empty() && request.source_key == request.key) {
    request.condition.if_match = request.source_if_match;
  }
  ObjectTags tags;
  if (!request.condition.empty() && conditional_copy_ != Support::kYes) {
    // radosgw 16 and others ignore the condition and do not say so.
    Task<Result<int>> look =
        CheckDestination(request.key, request.condition, context);
    Result<int> tag_count = co_await std::move(look);
    CKPTFS_CO_RETURN_IF_ERROR(tag_count);
    // radosgw drops the tags of a copy that replaces metadata.
    if (*tag_count > 0 && request.source_key == request.key) {
      GetTagsRequest get;
      get.key = request.key;
      Task<Result<ObjectTags>> reading = RunGetTags(std::move(get), context);
      Result<ObjectTags> read = co_await std::move(reading);
      CKPTFS_CO_RETURN_IF_ERROR(read);
      tags = *std::move(read);
    }
    if (conditional_copy_ == Support::kNo) request.condition = {};
  }
  Result<S3Request> copy = BuildCopy(request, bucket);
  CKPTFS_CO_RETURN_IF_ERROR(copy);
  const std::string nonce = request.nonce;
  Task<S3Outcome> execution =
      ExecuteIfMatch(*std::move(copy), request.condition.if_match, context);
  S3Outcome outcome = co_await std::move(execution);
  if (!request.condition.empty() && outcome.failure.has_value() &&
      !outcome.maybe_executed && MayRefuseCondition(outcome.failure->error)) {
    Result<S3Request> without = BuildCopy(plain, bucket);
    CKPTFS_CO_RETURN_IF_ERROR(without);
    Task<S3Outcome> again = client_.Execute(*std::move(without), context);
    outcome = co_await std::move(again);
    if (!outcome.failure.has_value()) conditional_copy_ = Support::kNo;
  }
  if (!outcome.failure.has_value()) {
    Result<PutResult> done = Checked(ParseCopy(outcome.response), "copy to",
                                     request.key, outcome.response);
    if (done.has_value() && done->etag.empty()) {
      Task<Result<PutResult>> looking =
          LookForETag(request.key, nonce, std::nullopt, context);
      done = co_await std::move(looking);
    }
    // radosgw ignores the condition on the source. The ETag of most copies is
    // that of the source; not that of what was uploaded in parts.
    if (done.has_value() && request.source_key != request.key &&
        !SameETag(done->etag.value, request.source_if_match.value)) {
      Task<Result<void>> check =
          CheckStill(request.source_key, request.source_if_match, context);
      Result<void> still = co_await std::move(check);
      if (!still.has_value() &&
          still.error().code() != ErrorCode::kPreconditionFailed) {
        // The copy is made; of which version is what cannot be told.
        co_return Fail(Unknown(still.error(), "the copy was made"));
      }
      CKPTFS_CO_RETURN_IF_ERROR(still);
    }
    if (done.has_value() && !tags.empty()) {
      Task<void> restoring =
          RestoreTags(request.key, done->etag, std::move(tags), context);
      co_await std::move(restoring);
    }
    co_return done;
  }
  WriteMark mark;
  mark.key = request.key;
  mark.nonce = nonce;
  mark.attributes = request.replace_attributes;
  mark.condition = request.condition;
  Task<Result<PutResult>> settling =
      Settle(std::move(mark), std::move(outcome), context);
  Result<PutResult> settled = co_await std::move(settling);
  co_return settled;
}

Task<Result<void>> S3ObjectStore::RunDelete(DeleteRequest request,
                                            CallContext context) {
  CKPTFS_CO_RETURN_IF_ERROR(CheckKey(request.key));
  Support support =
      request.if_match.empty() ? Support::kNo : Support{conditional_delete_};
  if (support != Support::kYes && !request.if_match.empty()) {
    Task<Result<ObjectInfo>> look =
        HeadPinned(request.key, request.if_match, std::string(), context);
    Result<ObjectInfo> head = co_await std::move(look);
    if (!head.has_value() && IsAbsent(head.error())) co_return Result<void>();
    CKPTFS_CO_RETURN_IF_ERROR(head);
  }
  if (support == Support::kUnknown) {
    // The object is the one to be deleted. An endpoint that looks at If-Match
    // does not delete it yet; one that ignores it does, as it should.
    Result<S3Request> probe = BuildDelete(request.key, ETag{kNoVersion});
    CKPTFS_CO_RETURN_IF_ERROR(probe);
    Task<S3Outcome> execution = client_.Execute(*std::move(probe), context);
    S3Outcome outcome = co_await std::move(execution);
    if (!outcome.failure.has_value()) {
      conditional_delete_ = Support::kNo;
      co_return Result<void>();
    }
    const Error& error = outcome.failure->error;
    if (IsAbsent(error)) co_return Result<void>();
    if (error.code() == ErrorCode::kPreconditionFailed) {
      conditional_delete_ = support = Support::kYes;
    } else if (!outcome.maybe_executed && MayRefuseCondition(error)) {
      support = Support::kNo;
    } else {
      Task<Result<void>> settling =
          SettleDelete(request.key, request.if_match, outcome, context);
      Result<void> settled = co_await std::move(settling);
      co_return settled;
    }
  }
  const ETag if_match = support == Support::kYes ? request.if_match : ETag();
  Result<S3Request> del = BuildDelete(request.key, if_match);
  CKPTFS_CO_RETURN_IF_ERROR(del);
  Task<S3Outcome> execution =
      ExecuteIfMatch(*std::move(del), if_match, context);
  S3Outcome outcome = co_await std::move(execution);
  if (!outcome.failure.has_value()) {
    if (!request.if_match.empty()) conditional_delete_ = support;
    co_return Result<void>();
  }
  Task<Result<void>> settling =
      SettleDelete(request.key, request.if_match, outcome, context);
  Result<void> settled = co_await std::move(settling);
  co_return settled;
}

}  // namespace ckptfs
