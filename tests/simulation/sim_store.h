// SimStore: an ObjectStore in which every call waits until the simulation
// decides what becomes of it. Single-threaded.
#pragma once

#include <ckptfs/object_store.h>

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace ckptfs::sim {

class SimStore final : public ObjectStore {
 public:
  // What becomes of a call.
  enum class Fate {
    kSucceed,    // takes effect and is answered
    kFail,       // no effect; answered kUnavailable
    kLoseReply,  // takes effect; answered kUnavailable
  };
  struct Call {
    std::string operation;
    std::string key;
    std::function<void(Fate)> settle;
  };

  // `bucket` outlives this; its operations finish at once.
  explicit SimStore(ObjectStore& bucket) : bucket_(bucket) {}

  std::vector<Call>& pending() { return pending_; }
  std::uint64_t calls() const { return calls_; }
  void Settle(std::size_t index, Fate fate) {
    Call call = std::move(pending_[index]);
    pending_.erase(pending_.begin() + static_cast<std::ptrdiff_t>(index));
    call.settle(fate);
  }
  // The daemon is dead: nothing has any effect from now on.
  void Die() {
    dead_ = true;
    while (!pending_.empty()) Settle(0, Fate::kFail);
  }

  Future<ObjectInfo> Head(HeadRequest r) override {
    return Hold("Head", r.key, std::move(r), &ObjectStore::Head);
  }
  Future<GetResult> Get(GetRequest r) override {
    return Hold("Get", r.key, std::move(r), &ObjectStore::Get);
  }
  Future<PutResult> Put(PutRequest r) override {
    return Hold("Put", r.key, std::move(r), &ObjectStore::Put);
  }
  Future<MultipartUpload> CreateMultipart(CreateMultipartRequest r) override {
    return Hold("CreateMultipart", r.key, std::move(r),
                &ObjectStore::CreateMultipart);
  }
  Future<CompletedPart> UploadPart(UploadPartRequest r) override {
    return Hold("UploadPart", r.upload.key, std::move(r),
                &ObjectStore::UploadPart);
  }
  Future<CompletedPart> UploadPartCopy(UploadPartCopyRequest r) override {
    return Hold("UploadPartCopy", r.upload.key, std::move(r),
                &ObjectStore::UploadPartCopy);
  }
  Future<PutResult> CompleteMultipart(CompleteMultipartRequest r) override {
    return Hold("CompleteMultipart", r.upload.key, std::move(r),
                &ObjectStore::CompleteMultipart);
  }
  Future<void> AbortMultipart(AbortMultipartRequest r) override {
    return Hold("AbortMultipart", r.upload.key, std::move(r),
                &ObjectStore::AbortMultipart);
  }
  Future<ListPartsResult> ListParts(ListPartsRequest r) override {
    return Hold("ListParts", r.upload.key, std::move(r),
                &ObjectStore::ListParts);
  }
  Future<ListUploadsResult> ListMultipartUploads(
      ListUploadsRequest r) override {
    return Hold("ListMultipartUploads", r.prefix, std::move(r),
                &ObjectStore::ListMultipartUploads);
  }
  Future<PutResult> Copy(CopyRequest r) override {
    return Hold("Copy", r.key, std::move(r), &ObjectStore::Copy);
  }
  Future<void> Delete(DeleteRequest r) override {
    return Hold("Delete", r.key, std::move(r), &ObjectStore::Delete);
  }
  Future<DeleteManyResult> DeleteMany(DeleteManyRequest r) override {
    return Hold("DeleteMany", "", std::move(r), &ObjectStore::DeleteMany);
  }
  Future<ObjectTags> GetTags(GetTagsRequest r) override {
    return Hold("GetTags", r.key, std::move(r), &ObjectStore::GetTags);
  }
  Future<ListResult> List(ListRequest r) override {
    return Hold("List", r.prefix, std::move(r), &ObjectStore::List);
  }
  StoreCapabilities capabilities() const override {
    return bucket_.capabilities();
  }

 private:
  template <typename Request, typename T>
  Future<T> Hold(const char* operation, std::string key, Request request,
                 Future<T> (ObjectStore::*call)(Request)) {
    ++calls_;
    auto promise = std::make_shared<Promise<T>>();
    Future<T> future = promise->GetFuture();
    auto settle = [this, promise, call,
                   request = std::move(request)](Fate fate) {
      if (request.options.stop.stop_requested() && fate != Fate::kLoseReply) {
        promise->Set(Fail(ErrorCode::kCancelled, "cancelled"));
        return;
      }
      if (fate == Fate::kFail) {
        promise->Set(Fail(ErrorCode::kUnavailable, "injected failure"));
        return;
      }
      Result<T> result = (bucket_.*call)(request).Get();
      if (fate == Fate::kLoseReply) {
        promise->Set(Fail(ErrorCode::kUnavailable, "injected lost reply"));
        return;
      }
      promise->Set(std::move(result));
    };
    if (dead_) {
      settle(Fate::kFail);
    } else {
      pending_.push_back({operation, std::move(key), std::move(settle)});
    }
    return future;
  }

  ObjectStore& bucket_;
  std::vector<Call> pending_;
  std::uint64_t calls_ = 0;
  bool dead_ = false;
};

}  // namespace ckptfs::sim
