#include "checkpoint/io/object_source.h"

#include <utility>

namespace ckptfs {

ObjectSource::ObjectSource(ObjectStore& store, Executor& executor,
                           std::string key, std::string name,
                           ObjectReaderOptions options)
    : store_(store),
      executor_(executor),
      key_(std::move(key)),
      name_(std::move(name)),
      options_(options) {}

Task<Result<std::uint64_t>> ObjectSource::Open(Destination first,
                                               std::stop_token stop) {
  // The reply to a ranged GET tells the size and the version: no HEAD.
  GetRequest request;
  request.key = key_;
  request.destination = std::move(first);
  request.options.stop = std::move(stop);
  Result<GetResult> got = co_await store_.Get(std::move(request));
  if (!got) co_return Fail(got.error().WithContext("open " + name_));
  const std::uint64_t size = got->info.size;
  reader_ = std::make_unique<ObjectReader>(store_, executor_,
                                           std::move(got->info), options_);
  co_return size;
}

Task<Result<void>> ObjectSource::Read(std::uint64_t offset,
                                      Destination destination,
                                      std::stop_token stop) {
  const std::uint64_t wanted = destination.size();
  RequestOptions options;
  options.stop = std::move(stop);
  Result<std::uint64_t> read = co_await reader_->Read(
      offset, std::move(destination), std::move(options));
  CKPTFS_CO_RETURN_IF_ERROR(read);
  if (*read != wanted) {
    co_return Fail(
        ErrorCode::kInvalidArgument,
        name_ + " ends before byte " + std::to_string(offset + wanted));
  }
  co_return Result<void>();
}

}  // namespace ckptfs
