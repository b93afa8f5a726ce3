// S3ObjectStore: deletes of many objects.
#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include "s3/delete_calls.h"
#include "s3/object_calls.h"
#include "s3/xml.h"
#include "store/s3_object_store.h"

namespace ckptfs {

namespace {

constexpr std::size_t kSingleDeletesAtOnce = 16;

}  // namespace

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
      if (context.deadline != SteadyTime::max()) {
        request.options.deadline =
            std::max(std::chrono::milliseconds(1),
                     std::chrono::duration_cast<std::chrono::milliseconds>(
                         context.deadline - parts_.clock->Now()));
      }
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
    Task<S3Outcome> execution = client_.Execute(std::move(del), context);
    S3Outcome outcome = co_await std::move(execution);
    if (outcome.failure.has_value()) {
      const auto rest = batched.begin() + static_cast<long>(i);
      Error error = outcome.failure->error;
      if (error.code() == ErrorCode::kUnsupported) {
        deletes_singly_ = true;
        single.insert(single.end(), rest, batched.end());
        break;
      }
      if (outcome.maybe_executed) {
        error = Unknown(error, "some of them may be deleted");
      }
      if (i == 0) co_return Fail(error);
      // Those before are deleted: no error may hide that.
      for (auto key = rest; key != batched.end(); ++key) {
        result.failures.push_back({*key, error});
      }
      break;
    }
    Result<std::vector<DeleteFailure>> failures =
        ParseDeleteMany(outcome.response);
    if (!failures.has_value()) {
      // It was carried out, with a result that nobody can read.
      single.insert(single.end(), batched.begin() + static_cast<long>(i),
                    batched.begin() + static_cast<long>(i + n));
      continue;
    }
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

}  // namespace ckptfs
