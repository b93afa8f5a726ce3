#include "store/s3_object_store.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "s3/copy_calls.h"
#include "s3/list_calls.h"
#include "s3/multipart_calls.h"
#include "s3/object_calls.h"
#include "s3/range_download.h"
#include "s3/xml.h"

namespace ckptfs {

// One running operation: counts it, and joins the caller's stop token with the
// store's.
class S3ObjectStore::Operation {
 public:
  Operation(S3ObjectStore& store, const RequestOptions& options,
            std::chrono::seconds patience)
      : store_(store) {
    context_.stop = source_.get_token();
    context_.patience = patience;
    if (options.deadline.count() > 0) {
      // Whoever names a time of his own gets all of it, and no more.
      context_.deadline = store.parts_.clock->Now() + options.deadline;
      context_.patience =
          std::max<Duration>(context_.patience, options.deadline);
    }
    {
      MutexLock lock(store_.mu_);
      ++store_.running_;
    }
    on_caller_.emplace(options.stop, [this] { source_.request_stop(); });
    on_store_.emplace(store.stop_.get_token(),
                      [this] { source_.request_stop(); });
  }
  ~Operation() {
    // Each waits for a callback that is running.
    on_caller_.reset();
    on_store_.reset();
    MutexLock lock(store_.mu_);
    if (--store_.running_ == 0) store_.idle_.NotifyAll();
  }
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;

  const CallContext& context() const { return context_; }

 private:
  S3ObjectStore& store_;
  std::stop_source source_;
  CallContext context_;
  std::optional<std::stop_callback<std::function<void()>>> on_caller_;
  std::optional<std::stop_callback<std::function<void()>>> on_store_;
};

S3ObjectStore::S3ObjectStore(Parts parts, Endpoint endpoint, std::string region,
                             S3ClientOptions options)
    : parts_(std::move(parts)),
      client_(*parts_.transport, *parts_.clock, *parts_.executor,
              *parts_.credentials, std::move(endpoint), std::move(region),
              std::move(options)) {
  if (client_.endpoint().is_aws()) {
    conditional_delete_ = conditional_copy_ = Support::kYes;
  }
}

S3ObjectStore::~S3ObjectStore() {
  stop_.request_stop();
  {
    MutexLock lock(mu_);
    while (running_ > 0) idle_.Wait(mu_);
  }
  // Each joins its threads; what they post goes to what lives longer.
  parts_.transport.reset();
  parts_.clock.reset();
  parts_.executor.reset();
}

template <typename T, typename Request>
Future<T> S3ObjectStore::Start(
    Task<Result<T>> (S3ObjectStore::*run)(Request, CallContext),
    Request request, std::chrono::seconds patience) {
  Promise<T> promise;
  Future<T> future = promise.GetFuture();
  auto operation =
      std::make_unique<Operation>(*this, request.options, patience);
  Executor& executor = *parts_.executor;
  executor.Post([this, run, &executor, operation = std::move(operation),
                 request = std::move(request),
                 promise = std::move(promise)]() mutable {
    CallContext context = operation->context();
    Spawn(
        executor, (this->*run)(std::move(request), std::move(context)),
        UniqueFunction<void(Result<T>)>(
            [operation = std::move(operation), promise = std::move(promise)](
                Result<T> result) mutable { promise.Set(std::move(result)); }));
  });
  return future;
}

Future<ObjectInfo> S3ObjectStore::Head(HeadRequest request) {
  return Start(&S3ObjectStore::RunHead, std::move(request), kPatience);
}
Future<GetResult> S3ObjectStore::Get(GetRequest request) {
  return Start(&S3ObjectStore::RunGet, std::move(request), kPatience);
}
Future<PutResult> S3ObjectStore::Put(PutRequest request) {
  return Start(&S3ObjectStore::RunPut, std::move(request), kPatience);
}
Future<MultipartUpload> S3ObjectStore::CreateMultipart(
    CreateMultipartRequest request) {
  return Start(&S3ObjectStore::RunCreate, std::move(request), kPatience);
}
Future<CompletedPart> S3ObjectStore::UploadPart(UploadPartRequest request) {
  return Start(&S3ObjectStore::RunUploadPart, std::move(request), kPatience);
}
Future<CompletedPart> S3ObjectStore::UploadPartCopy(
    UploadPartCopyRequest request) {
  return Start(&S3ObjectStore::RunUploadPartCopy, std::move(request),
               kSlowPatience);
}
Future<PutResult> S3ObjectStore::CompleteMultipart(
    CompleteMultipartRequest request) {
  return Start(&S3ObjectStore::RunComplete, std::move(request), kSlowPatience);
}
Future<void> S3ObjectStore::AbortMultipart(AbortMultipartRequest request) {
  return Start(&S3ObjectStore::RunAbort, std::move(request), kPatience);
}
Future<ListPartsResult> S3ObjectStore::ListParts(ListPartsRequest request) {
  return Start(&S3ObjectStore::RunListParts, std::move(request), kPatience);
}
Future<ListUploadsResult> S3ObjectStore::ListMultipartUploads(
    ListUploadsRequest request) {
  return Start(&S3ObjectStore::RunListUploads, std::move(request), kPatience);
}
Future<PutResult> S3ObjectStore::Copy(CopyRequest request) {
  return Start(&S3ObjectStore::RunCopy, std::move(request), kSlowPatience);
}
Future<void> S3ObjectStore::Delete(DeleteRequest request) {
  return Start(&S3ObjectStore::RunDelete, std::move(request), kPatience);
}
Future<DeleteManyResult> S3ObjectStore::DeleteMany(DeleteManyRequest request) {
  return Start(&S3ObjectStore::RunDeleteMany, std::move(request), kPatience);
}
Future<ObjectTags> S3ObjectStore::GetTags(GetTagsRequest request) {
  return Start(&S3ObjectStore::RunGetTags, std::move(request), kPatience);
}
Future<ListResult> S3ObjectStore::List(ListRequest request) {
  return Start(&S3ObjectStore::RunList, std::move(request), kPatience);
}

Task<Result<ObjectInfo>> S3ObjectStore::RunHead(HeadRequest request,
                                                CallContext context) {
  Task<Result<ObjectInfo>> head =
      HeadPinned(request.key, ETag(), std::string(), context);
  Result<ObjectInfo> info = co_await std::move(head);
  co_return info;
}

Task<Result<ObjectInfo>> S3ObjectStore::HeadPinned(std::string key,
                                                   ETag if_match,
                                                   std::string version_id,
                                                   CallContext context) {
  CKPTFS_CO_RETURN_IF_ERROR(CheckKey(key));
  S3Request request = BuildHead(key, if_match, version_id);
  Task<S3Outcome> execution = client_.Execute(std::move(request), context);
  S3Outcome outcome = co_await std::move(execution);
  if (outcome.failure.has_value()) co_return Fail(outcome.failure->error);
  ObjectInfo info = ParseObjectHeaders(key, outcome.response.headers);
  // rclone's `serve s3` does not look at If-Match.
  if (!if_match.empty() && !info.etag.empty() &&
      !SameETag(info.etag.value, if_match.value)) {
    co_return Fail(Replaced(key, if_match));
  }
  co_return info;
}

Task<Result<GetResult>> S3ObjectStore::RunGet(GetRequest request,
                                              CallContext context) {
  CKPTFS_CO_RETURN_IF_ERROR(CheckKey(request.key));
  Destination destination = std::exchange(request.destination, {});
  GetResult result;
  ETag pin = request.if_match;
  bool past_end = destination.size() == 0;
  if (!past_end) {
    auto download = std::make_shared<RangeDownload>(
        request.key, request.offset, std::exchange(destination, {}),
        request.if_match);
    S3Request get = BuildGet(request.key, request.version_id, download);
    Task<S3Outcome> execution = client_.Execute(std::move(get), context);
    S3Outcome outcome = co_await std::move(execution);
    if (outcome.failure.has_value()) co_return Fail(outcome.failure->error);
    past_end = download->past_end();
    pin = download->pin();
    result.bytes = download->received();
    result.info = download->info();
  }
  if (past_end) {
    // A 416 carries no attributes, and may have come before If-Match was
    // looked at.
    Task<Result<ObjectInfo>> head =
        HeadPinned(request.key, pin, request.version_id, context);
    Result<ObjectInfo> info = co_await std::move(head);
    CKPTFS_CO_RETURN_IF_ERROR(info);
    result.info = *std::move(info);
  }
  co_return result;
}

Task<Result<MultipartUpload>> S3ObjectStore::RunCreate(
    CreateMultipartRequest request, CallContext context) {
  CKPTFS_CO_RETURN_IF_ERROR(CheckTags(request.key, request.attributes));
  Result<S3Request> create = BuildCreateMultipart(request);
  CKPTFS_CO_RETURN_IF_ERROR(create);
  Task<S3Outcome> execution = client_.Execute(*std::move(create), context);
  S3Outcome outcome = co_await std::move(execution);
  if (outcome.failure.has_value()) {
    if (!outcome.maybe_executed) co_return Fail(outcome.failure->error);
    co_return Fail(Unknown(outcome.failure->error, "its reply was lost"));
  }
  co_return Checked(ParseCreateMultipart(request.key, outcome.response),
                    "create upload of", request.key, outcome.response);
}

Task<Result<CompletedPart>> S3ObjectStore::RunUploadPart(
    UploadPartRequest request, CallContext context) {
  const std::uint64_t size = request.payload.size();
  Result<S3Request> part = BuildUploadPart(request);
  CKPTFS_CO_RETURN_IF_ERROR(part);
  Task<S3Outcome> execution = client_.Execute(*std::move(part), context);
  S3Outcome outcome = co_await std::move(execution);
  if (outcome.failure.has_value()) co_return Fail(outcome.failure->error);
  co_return Checked(
      ParseUploadPart(request.part_number, size, outcome.response),
      "upload part of", request.upload.key, outcome.response);
}

Task<Result<CompletedPart>> S3ObjectStore::RunUploadPartCopy(
    UploadPartCopyRequest request, CallContext context) {
  Task<Result<SourceDecoding>> asking = DecodingOf(request.source_key, context);
  Result<SourceDecoding> decoding = co_await std::move(asking);
  CKPTFS_CO_RETURN_IF_ERROR(decoding);
  const std::string& bucket = client_.endpoint().bucket();
  Result<S3Request> copy =
      BuildUploadPartCopy(request, bucket, *decoding != SourceDecoding::kOnce);
  CKPTFS_CO_RETURN_IF_ERROR(copy);
  Task<S3Outcome> execution = client_.Execute(*std::move(copy), context);
  S3Outcome outcome = co_await std::move(execution);
  if (*decoding == SourceDecoding::kUnknown) {
    if (!outcome.failure.has_value()) {
      source_decoding_ = SourceDecoding::kTwice;
    } else {
      if (outcome.failure->error.s3_code() == "NoSuchKey") {
        source_decoding_ = SourceDecoding::kOnce;
      }
      Result<S3Request> once = BuildUploadPartCopy(request, bucket, false);
      CKPTFS_CO_RETURN_IF_ERROR(once);
      Task<S3Outcome> again = client_.Execute(*std::move(once), context);
      outcome = co_await std::move(again);
    }
  }
  if (outcome.failure.has_value()) co_return Fail(outcome.failure->error);
  // radosgw ignores the condition on the source of a part.
  Task<Result<void>> check =
      CheckStill(request.source_key, request.source_if_match, context);
  Result<void> still = co_await std::move(check);
  CKPTFS_CO_RETURN_IF_ERROR(still);
  co_return Checked(ParseUploadPartCopy(request, outcome.response),
                    "copy into part of", request.upload.key, outcome.response);
}

Task<Result<PutResult>> S3ObjectStore::RunComplete(
    CompleteMultipartRequest request, CallContext context) {
  Result<S3Request> complete = BuildCompleteMultipart(request);
  CKPTFS_CO_RETURN_IF_ERROR(complete);
  std::optional<std::uint64_t> size = 0;
  for (const CompletedPart& part : request.parts) {
    // A caller that resumed an upload may not know the sizes.
    if (part.size == 0) size.reset();
    if (size.has_value()) *size += part.size;
  }
  Task<S3Outcome> execution = client_.Execute(*std::move(complete), context);
  S3Outcome outcome = co_await std::move(execution);
  if (!outcome.failure.has_value()) {
    Result<PutResult> done =
        Checked(ParseCompleteMultipart(outcome.response), "complete upload of",
                request.upload.key, outcome.response);
    if (done.has_value() && done->etag.empty()) {
      Task<Result<PutResult>> looking =
          LookForETag(request.upload.key, request.nonce, size, context);
      done = co_await std::move(looking);
    }
    co_return done;
  }
  WriteMark mark;
  mark.key = request.upload.key;
  mark.nonce = request.nonce;
  mark.size = size;
  mark.condition = request.condition;
  Task<Result<PutResult>> settling =
      Settle(std::move(mark), std::move(outcome), context);
  Result<PutResult> settled = co_await std::move(settling);
  co_return settled;
}

Task<Result<void>> S3ObjectStore::RunAbort(AbortMultipartRequest request,
                                           CallContext context) {
  Result<S3Request> abort = BuildAbortMultipart(request);
  CKPTFS_CO_RETURN_IF_ERROR(abort);
  Task<S3Outcome> execution = client_.Execute(*std::move(abort), context);
  S3Outcome outcome = co_await std::move(execution);
  if (!outcome.failure.has_value()) co_return Result<void>();
  const Error& error = outcome.failure->error;
  if (error.code() == ErrorCode::kNotFound &&
      error.s3_code() != "NoSuchBucket") {
    co_return Result<void>();
  }
  co_return Fail(error);
}

Task<Result<ListPartsResult>> S3ObjectStore::RunListParts(
    ListPartsRequest request, CallContext context) {
  Result<S3Request> list = BuildListParts(request);
  CKPTFS_CO_RETURN_IF_ERROR(list);
  Task<S3Outcome> execution = client_.Execute(*std::move(list), context);
  S3Outcome outcome = co_await std::move(execution);
  if (outcome.failure.has_value()) co_return Fail(outcome.failure->error);
  co_return Checked(ParseListParts(outcome.response), "list parts of",
                    request.upload.key, outcome.response);
}

Task<Result<ListUploadsResult>> S3ObjectStore::RunListUploads(
    ListUploadsRequest request, CallContext context) {
  for (bool encoded = true;; encoded = false) {
    S3Request list = BuildListUploads(request, encoded);
    Task<S3Outcome> execution = client_.Execute(std::move(list), context);
    S3Outcome outcome = co_await std::move(execution);
    if (outcome.failure.has_value()) co_return Fail(outcome.failure->error);
    bool unclear = false;
    Result<ListUploadsResult> page =
        Checked(ParseListUploads(outcome.response, &unclear), "list uploads in",
                "", outcome.response);
    if (!page.has_value() || !unclear || !encoded) co_return page;
  }
}

Task<Result<ListResult>> S3ObjectStore::RunList(ListRequest request,
                                                CallContext context) {
  S3Request list = BuildList(request);
  Task<S3Outcome> execution = client_.Execute(std::move(list), context);
  S3Outcome outcome = co_await std::move(execution);
  if (outcome.failure.has_value()) co_return Fail(outcome.failure->error);
  co_return Checked(ParseList(outcome.response, request.continuation_token),
                    "list", request.prefix, outcome.response);
}

}  // namespace ckptfs
