#include "store/s3_object_store.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "s3/copy_calls.h"
#include "s3/delete_calls.h"
#include "s3/list_calls.h"
#include "s3/multipart_calls.h"
#include "s3/object_calls.h"
#include "s3/range_download.h"
#include "s3/xml.h"

namespace ckptfs {

namespace {

constexpr std::chrono::seconds kDefaultDeadline{120};
// AWS documents minutes for Complete; copies move gigabytes.
constexpr std::chrono::seconds kSlowDeadline{15 * 60};

constexpr std::size_t kSingleDeletesAtOnce = 16;

}  // namespace

// One running operation: counts it, and joins the caller's stop token with the
// store's.
class S3ObjectStore::Operation {
 public:
  Operation(S3ObjectStore& store, const RequestOptions& options,
            std::chrono::seconds default_deadline)
      : store_(store) {
    context_.stop = source_.get_token();
    const Duration time = options.deadline.count() > 0
                              ? Duration(options.deadline)
                              : Duration(default_deadline);
    context_.deadline = store.parts_.clock->Now() + time;
    {
      std::lock_guard lock(store_.mu_);
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
    std::lock_guard lock(store_.mu_);
    if (--store_.running_ == 0) store_.idle_.notify_all();
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
    std::unique_lock lock(mu_);
    idle_.wait(lock, [this] { return running_ == 0; });
  }
  // Each joins its threads; what they post goes to what lives longer.
  parts_.transport.reset();
  parts_.clock.reset();
  parts_.executor.reset();
}

template <typename T, typename Request>
Future<T> S3ObjectStore::Start(
    Task<Result<T>> (S3ObjectStore::*run)(Request, CallContext),
    Request request, std::chrono::seconds default_deadline) {
  Promise<T> promise;
  Future<T> future = promise.GetFuture();
  auto operation =
      std::make_unique<Operation>(*this, request.options, default_deadline);
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
  return Start(&S3ObjectStore::RunHead, std::move(request), kDefaultDeadline);
}
Future<GetResult> S3ObjectStore::Get(GetRequest request) {
  return Start(&S3ObjectStore::RunGet, std::move(request), kDefaultDeadline);
}
Future<PutResult> S3ObjectStore::Put(PutRequest request) {
  return Start(&S3ObjectStore::RunPut, std::move(request), kDefaultDeadline);
}
Future<MultipartUpload> S3ObjectStore::CreateMultipart(
    CreateMultipartRequest request) {
  return Start(&S3ObjectStore::RunCreate, std::move(request), kDefaultDeadline);
}
Future<CompletedPart> S3ObjectStore::UploadPart(UploadPartRequest request) {
  return Start(&S3ObjectStore::RunUploadPart, std::move(request),
               kDefaultDeadline);
}
Future<CompletedPart> S3ObjectStore::UploadPartCopy(
    UploadPartCopyRequest request) {
  return Start(&S3ObjectStore::RunUploadPartCopy, std::move(request),
               kSlowDeadline);
}
Future<PutResult> S3ObjectStore::CompleteMultipart(
    CompleteMultipartRequest request) {
  return Start(&S3ObjectStore::RunComplete, std::move(request), kSlowDeadline);
}
Future<void> S3ObjectStore::AbortMultipart(AbortMultipartRequest request) {
  return Start(&S3ObjectStore::RunAbort, std::move(request), kDefaultDeadline);
}
Future<ListPartsResult> S3ObjectStore::ListParts(ListPartsRequest request) {
  return Start(&S3ObjectStore::RunListParts, std::move(request),
               kDefaultDeadline);
}
Future<ListUploadsResult> S3ObjectStore::ListMultipartUploads(
    ListUploadsRequest request) {
  return Start(&S3ObjectStore::RunListUploads, std::move(request),
               kDefaultDeadline);
}
Future<PutResult> S3ObjectStore::Copy(CopyRequest request) {
  return Start(&S3ObjectStore::RunCopy, std::move(request), kSlowDeadline);
}
Future<void> S3ObjectStore::Delete(DeleteRequest request) {
  return Start(&S3ObjectStore::RunDelete, std::move(request), kDefaultDeadline);
}
Future<DeleteManyResult> S3ObjectStore::DeleteMany(DeleteManyRequest request) {
  return Start(&S3ObjectStore::RunDeleteMany, std::move(request),
               kDefaultDeadline);
}
Future<ObjectTags> S3ObjectStore::GetTags(GetTagsRequest request) {
  return Start(&S3ObjectStore::RunGetTags, std::move(request),
               kDefaultDeadline);
}
Future<ListResult> S3ObjectStore::List(ListRequest request) {
  return Start(&S3ObjectStore::RunList, std::move(request), kDefaultDeadline);
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
  if (outcome.failure.has_value()) co_return Fail(outcome.failure->error);
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
  if (!outcome.reconcile) co_return Fail(outcome.failure->error);
  Task<Result<PutResult>> settling = Settle(request.upload.key, request.nonce,
                                            size, *outcome.failure, context);
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

Task<Result<void>> S3ObjectStore::DeleteSingly(std::vector<std::string> keys,
                                               DeleteManyResult* result,
                                               CallContext context) {
  for (std::size_t i = 0; i < keys.size(); i += kSingleDeletesAtOnce) {
    const std::size_t end = std::min(keys.size(), i + kSingleDeletesAtOnce);
    std::vector<Future<void>> running;
    for (std::size_t j = i; j < end; ++j) {
      DeleteRequest request;
      request.key = keys[j];
      request.options.stop = context.stop;
      request.options.deadline =
          std::max(std::chrono::milliseconds(1),
                   std::chrono::duration_cast<std::chrono::milliseconds>(
                       context.deadline - parts_.clock->Now()));
      running.push_back(Delete(std::move(request)));
    }
    for (std::size_t j = i; j < end; ++j) {
      Future<void> one = std::move(running[j - i]);
      Result<void> deleted = co_await std::move(one);
      if (!deleted.has_value()) {
        result->failures.push_back({keys[j], deleted.error()});
      }
    }
  }
  co_return Result<void>();
}

Task<Result<DeleteManyResult>> S3ObjectStore::RunDeleteMany(
    DeleteManyRequest request, CallContext context) {
  DeleteManyResult result;
  std::vector<std::string> batched;
  std::vector<std::string> single;
  for (std::string& key : request.keys) {
    CKPTFS_CO_RETURN_IF_ERROR(CheckKey(key));
    const bool batch = !deletes_singly_ && XmlCanCarry(key);
    (batch ? batched : single).push_back(std::move(key));
  }
  for (std::size_t i = 0; i < batched.size(); i += kMaxDeleteBatch) {
    const std::size_t n = std::min(kMaxDeleteBatch, batched.size() - i);
    S3Request del = BuildDeleteMany(std::span(batched).subspan(i, n));
    const std::string operation = del.operation;
    Task<S3Outcome> execution = client_.Execute(std::move(del), context);
    S3Outcome outcome = co_await std::move(execution);
    if (outcome.failure.has_value()) {
      const Error& error = outcome.failure->error;
      if (error.code() != ErrorCode::kUnsupported) co_return Fail(error);
      deletes_singly_ = true;
      single.insert(single.end(), batched.begin() + static_cast<long>(i),
                    batched.end());
      break;
    }
    Result<std::vector<DeleteFailure>> failures = Checked(
        ParseDeleteMany(outcome.response), operation, "", outcome.response);
    CKPTFS_CO_RETURN_IF_ERROR(failures);
    for (DeleteFailure& f : *failures) {
      if (f.s3_code == "NoSuchKey") continue;
      if (Decide(ClassOfCode(f.s3_code, 400), Idempotency::kReplay, false) ==
          RetryAction::kRetry) {
        single.push_back(std::move(f.key));
        continue;
      }
      Error::Detail detail;
      detail.message = "delete " + client_.endpoint().Uri(f.key) + ": " +
                       (f.message.empty() ? f.s3_code : f.message);
      detail.s3_code = f.s3_code;
      detail.request_id = outcome.response.headers.Get("x-amz-request-id");
      detail.key = f.key;
      result.failures.push_back(
          {f.key, Error(CodeFor(f.s3_code, 400), std::move(detail))});
    }
  }
  Task<Result<void>> deleting =
      DeleteSingly(std::move(single), &result, context);
  Result<void> rest = co_await std::move(deleting);
  CKPTFS_CO_RETURN_IF_ERROR(rest);
  co_return result;
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
