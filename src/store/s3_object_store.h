// S3ObjectStore: ObjectStore on one S3 bucket. Puts the call families, the
// client's retries and the settling of lost replies together.
#pragma once

#include <ckptfs/object_store.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>

#include "common/clock.h"
#include "common/mutex.h"
#include "common/task.h"
#include "http/http_transport.h"
#include "s3/credentials/credentials_provider.h"
#include "s3/endpoint.h"
#include "s3/s3_client.h"
#include "s3/s3_error.h"
#include "s3/s3_request.h"

namespace ckptfs {

// Thread-safe, non-blocking. Its tasks run on the given executor, which only
// parses, signs and decides; bytes move on the transport's threads, and
// results are delivered to whatever executor the caller names. The destructor
// cancels what is in flight and waits until it has ended.
class S3ObjectStore final : public ObjectStore {
 public:
  // Everything the store runs on; owned by it, destroyed in reverse order.
  struct Parts {
    std::unique_ptr<Executor> executor;
    std::unique_ptr<Clock> clock;
    std::unique_ptr<CredentialsProvider> credentials;
    std::unique_ptr<HttpTransport> transport;
  };

  S3ObjectStore(Parts parts, Endpoint endpoint, std::string region,
                S3ClientOptions options);
  ~S3ObjectStore() override;

  Future<ObjectInfo> Head(HeadRequest request) override;
  Future<GetResult> Get(GetRequest request) override;
  Future<PutResult> Put(PutRequest request) override;
  Future<MultipartUpload> CreateMultipart(
      CreateMultipartRequest request) override;
  Future<CompletedPart> UploadPart(UploadPartRequest request) override;
  Future<CompletedPart> UploadPartCopy(UploadPartCopyRequest request) override;
  Future<PutResult> CompleteMultipart(
      CompleteMultipartRequest request) override;
  Future<void> AbortMultipart(AbortMultipartRequest request) override;
  Future<ListPartsResult> ListParts(ListPartsRequest request) override;
  Future<ListUploadsResult> ListMultipartUploads(
      ListUploadsRequest request) override;
  Future<PutResult> Copy(CopyRequest request) override;
  Future<void> Delete(DeleteRequest request) override;
  Future<DeleteManyResult> DeleteMany(DeleteManyRequest request) override;
  Future<ObjectTags> GetTags(GetTagsRequest request) override;
  Future<ListResult> List(ListRequest request) override;
  StoreCapabilities capabilities() const override;

 private:
  class Operation;

  template <typename T, typename Request>
  Future<T> Start(Task<Result<T>> (S3ObjectStore::*run)(Request, CallContext),
                  Request request, std::chrono::seconds patience);

  Task<Result<ObjectInfo>> RunHead(HeadRequest request, CallContext context);
  Task<Result<GetResult>> RunGet(GetRequest request, CallContext context);
  Task<Result<PutResult>> RunPut(PutRequest request, CallContext context);
  Task<Result<MultipartUpload>> RunCreate(CreateMultipartRequest request,
                                          CallContext context);
  Task<Result<CompletedPart>> RunUploadPart(UploadPartRequest request,
                                            CallContext context);
  Task<Result<CompletedPart>> RunUploadPartCopy(UploadPartCopyRequest request,
                                                CallContext context);
  Task<Result<PutResult>> RunComplete(CompleteMultipartRequest request,
                                      CallContext context);
  Task<Result<void>> RunAbort(AbortMultipartRequest request,
                              CallContext context);
  Task<Result<ListPartsResult>> RunListParts(ListPartsRequest request,
                                             CallContext context);
  Task<Result<ListUploadsResult>> RunListUploads(ListUploadsRequest request,
                                                 CallContext context);
  Task<Result<PutResult>> RunCopy(CopyRequest request, CallContext context);
  Task<Result<void>> RunDelete(DeleteRequest request, CallContext context);
  Task<Result<DeleteManyResult>> RunDeleteMany(DeleteManyRequest request,
                                               CallContext context);
  Task<Result<ObjectTags>> RunGetTags(GetTagsRequest request,
                                      CallContext context);
  Task<Result<ListResult>> RunList(ListRequest request, CallContext context);

  static std::string NonceOf(const UserMetadata& metadata);
  Error Replaced(const std::string& key, const ETag& wanted) const;

  // Checks `if_match` itself too.
  Task<Result<ObjectInfo>> HeadPinned(std::string key, ETag if_match,
                                      std::string version_id,
                                      CallContext context);
  // What a write leaves behind, to know it by.
  struct WriteMark {
    std::string key;
    std::string nonce;                           // empty: none
    std::optional<std::uint64_t> size;           // of the object, if known
    std::optional<ObjectAttributes> attributes;  // of the object, all of them
    WriteCondition condition;                    // it was made under
  };
  // What became of a write that failed, if it may have been carried out all the
  // same. kOutcomeUnknown: S3 cannot be asked, or it may still be at it, or the
  // object tells nothing. With every other error it was not carried out, and
  // will not be.
  Task<Result<PutResult>> Settle(WriteMark mark, S3Outcome outcome,
                                 CallContext context);
  // The same for a DELETE that failed, `if_match` wanted or none.
  Task<Result<void>> SettleDelete(std::string key, ETag if_match,
                                  S3Outcome outcome, CallContext context);
  // What the object that is there (null: none) says; nullopt: nothing yet.
  using Reading =
      std::function<std::optional<Result<PutResult>>(const ObjectInfo* there)>;
  // Looks at the object until it tells, or too late for the request to have
  // an effect.
  Task<Result<PutResult>> LookUntilKnown(std::string key, Reading reading,
                                         S3Outcome outcome,
                                         CallContext context);
  static std::optional<Result<PutResult>> ReadMark(const WriteMark& mark,
                                                   const S3Failure& failure,
                                                   const ObjectInfo* there);
  static Error Unknown(const Error& failure, const std::string& why);
  // The result of a write that succeeded without telling its ETag.
  Task<Result<PutResult>> LookForETag(std::string key, std::string nonce,
                                      std::optional<std::uint64_t> size,
                                      CallContext context);
  // A request that may carry `if_match`, in the form that the endpoint takes.
  Task<S3Outcome> ExecuteIfMatch(S3Request request, ETag if_match,
                                 CallContext context);
  // The number of tags of what is there. kPreconditionFailed if `condition`
  // does not hold at this moment.
  Task<Result<int>> CheckDestination(std::string key, WriteCondition condition,
                                     CallContext context);
  // Gives the copy under `key` the tags that it should have kept. A failure is
  // logged: the copy is made.
  Task<void> RestoreTags(std::string key, ETag etag, ObjectTags tags,
                         CallContext context);
  Error NoTags(const std::string& key) const;
  // kUnsupported for tags where the endpoint is known to have none.
  Result<void> CheckTags(const std::string& key,
                         const ObjectAttributes& attributes) const;
  // Fails if `key` exists and is not `wanted`.
  Task<Result<void>> CheckStill(std::string key, ETag wanted,
                                CallContext context);
  // radosgw decodes the source of UploadPartCopy twice: it takes "a%2520b" for
  // "a b". Of a key without '%' that makes the same.
  enum class SourceDecoding { kUnknown, kOnce, kTwice };
  // kUnknown: naming `key` encoded twice finds out; no other object has the
  // name that a server which decodes once reads then.
  Task<Result<SourceDecoding>> DecodingOf(std::string key, CallContext context);
  // Deletes one by one, several at a time.
  Task<Result<void>> DeleteSingly(std::vector<std::string> keys,
                                  DeleteManyResult* result,
                                  CallContext context);

  template <typename T>
  Result<T> Checked(Result<T> parsed, const std::string& operation,
                    const std::string& key, const HttpResponse& response) const;

  Parts parts_;
  S3Client client_;
  std::stop_source stop_;
  // The endpoint has answered DeleteObjects with "not implemented".
  std::atomic<bool> deletes_singly_{false};
  // What the endpoint makes of conditions on DeleteObject and on what
  // CopyObject replaces. AWS knows them; elsewhere the first DELETE finds out,
  // while of copies only a refusal does: success does not tell who looked.
  enum class Support { kUnknown, kYes, kNo };
  std::atomic<Support> conditional_delete_{Support::kUnknown};
  std::atomic<Support> conditional_copy_{Support::kUnknown};
  // The endpoint has answered GetObjectTagging with "not implemented".
  std::atomic<bool> without_tags_{false};
  // The endpoint takes If-Match without quotes only.
  std::atomic<bool> bare_if_match_{false};
  std::atomic<SourceDecoding> source_decoding_{SourceDecoding::kUnknown};

  Mutex mu_;
  CondVar idle_;
  std::size_t running_ CKPTFS_GUARDED_BY(mu_) = 0;
};

template <typename T>
Result<T> S3ObjectStore::Checked(Result<T> parsed, const std::string& operation,
                                 const std::string& key,
                                 const HttpResponse& response) const {
  if (parsed.has_value()) return parsed;
  S3Request request;
  request.operation = operation;
  request.key = key;
  return Fail(MalformedReply(request, response, client_.endpoint(),
                             parsed.error().message()));
}

}  // namespace ckptfs
