#include "transfer/abort_upload.h"

#include <chrono>
#include <string>
#include <utility>
#include <vector>

namespace ckptfs {
namespace {

constexpr int kAbortRounds = 5;
// Somebody may be waiting for the error that led here: during an outage all
// rounds together take less than two minutes.
constexpr std::chrono::seconds kRequestDeadline{10};

tl::unexpected<Error> LeftOver(const MultipartUpload& upload,
                               const Error& cause) {
  return Fail(cause.WithContext("the multipart upload " + upload.upload_id +
                                " of " + upload.key + " may be left over"));
}

}  // namespace

Task<Result<void>> AbortUpload(ObjectStore& store, MultipartUpload upload) {
  Error last(ErrorCode::kUnavailable, "its parts are still listed");
  for (int round = 0; round < kAbortRounds; ++round) {
    AbortMultipartRequest abort;
    abort.upload = upload;
    abort.options.deadline = kRequestDeadline;
    Result<void> aborted = co_await store.AbortMultipart(std::move(abort));
    if (!aborted) last = aborted.error();
    ListPartsRequest list;
    list.upload = upload;
    list.options.deadline = kRequestDeadline;
    Result<ListPartsResult> listed = co_await store.ListParts(std::move(list));
    if (!listed) {
      if (listed.error().code() == ErrorCode::kNotFound) {
        co_return Result<void>();
      }
      last = listed.error();
    } else if (aborted && listed->parts.empty()) {
      // Some stores go on answering for a while, with nothing in it.
      co_return Result<void>();
    }
  }
  co_return LeftOver(upload, last);
}

Task<Result<void>> AbortUnknownUpload(ObjectStore& store, std::string key) {
  std::vector<MultipartUpload> candidates;
  std::string key_marker;
  std::string id_marker;
  bool more = true;
  while (more) {
    ListUploadsRequest request;
    request.prefix = key;
    request.key_marker = key_marker;
    request.upload_id_marker = id_marker;
    request.options.deadline = kRequestDeadline;
    Result<ListUploadsResult> page =
        co_await store.ListMultipartUploads(std::move(request));
    if (!page) {
      co_return Fail(page.error().WithContext("a multipart upload of " + key +
                                              " may be left over"));
    }
    more = page->truncated && (page->next_key_marker != key_marker ||
                               page->next_upload_id_marker != id_marker);
    key_marker = page->next_key_marker;
    id_marker = page->next_upload_id_marker;
    for (ListUploadsResult::Upload& u : page->uploads) {
      // Sorted by key: `key` itself comes before everything it is a prefix of.
      if (u.upload.key != key) {
        more = false;
        continue;
      }
      ListPartsRequest list;
      list.upload = u.upload;
      list.options.deadline = kRequestDeadline;
      Result<ListPartsResult> parts = co_await store.ListParts(std::move(list));
      if (parts && parts->parts.empty()) candidates.push_back(u.upload);
      if (!parts && parts.error().code() != ErrorCode::kNotFound) {
        co_return LeftOver(u.upload, parts.error());
      }
    }
  }
  if (candidates.empty()) co_return Result<void>();
  if (candidates.size() > 1) {
    co_return Fail(ErrorCode::kConflict, "one of " +
                                             std::to_string(candidates.size()) +
                                             " empty multipart uploads of " +
                                             key + " may be left over");
  }
  Result<void> aborted = co_await AbortUpload(store, candidates.front());
  co_return aborted;
}

}  // namespace ckptfs
