// SimStore: an ObjectStore in which every call waits until the simulation
// decides when it takes effect, when it is answered, and with what.
// Single-threaded.
#pragma once

#include <ckptfs/object_store.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace ckptfs::sim {

class SimStore final : public ObjectStore {
 public:
  // What becomes of a call.
  enum class Fate {
    kSucceed,    // takes effect and is answered
    kFail,       // no effect; answered with an error
    kLoseReply,  // takes effect; answered with an error
  };
  struct Call {
    std::string operation;
    std::string key;
    std::string source_key;  // of copies
    bool conditional = false;
    bool executed = false;
    std::function<void()> execute;
    // An error in place of the result, or none.
    std::function<void(std::optional<ErrorCode>)> answer;
  };
  // Told of each call that took effect, right after it did.
  using Observer = std::function<void(const Call&, bool succeeded)>;

  // `bucket` outlives this; its operations finish at once.
  explicit SimStore(ObjectStore& bucket) : bucket_(bucket) {}

  void set_observer(Observer observer) { observer_ = std::move(observer); }
  std::vector<Call>& pending() { return pending_; }
  std::uint64_t calls() const { return calls_; }

  // The call takes effect; its answer is on the way.
  void Execute(std::size_t index) {
    if (pending_[index].executed) return;
    pending_[index].executed = true;
    pending_[index].execute();
  }
  void Settle(std::size_t index, Fate fate,
              ErrorCode code = ErrorCode::kUnavailable) {
    if (fate != Fate::kFail) Execute(index);
    Call call = std::move(pending_[index]);
    pending_.erase(pending_.begin() + static_cast<std::ptrdiff_t>(index));
    call.answer(fate == Fate::kSucceed ? std::nullopt : std::optional(code));
  }
  // The daemon is dead: nothing has any effect from now on.
  void Die() {
    dead_ = true;
    while (!pending_.empty()) Settle(0, Fate::kFail);
  }

  Future<ObjectInfo> Head(HeadRequest r) override {
    return Hold("Head", r.key, "", false, std::move(r), &ObjectStore::Head);
  }
  Future<GetResult> Get(GetRequest r) override {
    return Hold("Get", r.key, "", false, std::move(r), &ObjectStore::Get);
  }
  Future<PutResult> Put(PutRequest r) override {
    return Hold("Put", r.key, "", !r.condition.empty(), std::move(r),
                &ObjectStore::Put);
  }
  Future<MultipartUpload> CreateMultipart(CreateMultipartRequest r) override {
    return Hold("CreateMultipart", r.key, "", false, std::move(r),
                &ObjectStore::CreateMultipart);
  }
  Future<CompletedPart> UploadPart(UploadPartRequest r) override {
    return Hold("UploadPart", r.upload.key, "", false, std::move(r),
                &ObjectStore::UploadPart);
  }
  Future<CompletedPart> UploadPartCopy(UploadPartCopyRequest r) override {
    return Hold("UploadPartCopy", r.upload.key, r.source_key, false,
                std::move(r), &ObjectStore::UploadPartCopy);
  }
  Future<PutResult> CompleteMultipart(CompleteMultipartRequest r) override {
    return Hold("CompleteMultipart", r.upload.key, "", !r.condition.empty(),
                std::move(r), &ObjectStore::CompleteMultipart);
  }
  Future<void> AbortMultipart(AbortMultipartRequest r) override {
    return Hold("AbortMultipart", r.upload.key, "", false, std::move(r),
                &ObjectStore::AbortMultipart);
  }
  Future<ListPartsResult> ListParts(ListPartsRequest r) override {
    return Hold("ListParts", r.upload.key, "", false, std::move(r),
                &ObjectStore::ListParts);
  }
  Future<ListUploadsResult> ListMultipartUploads(
      ListUploadsRequest r) override {
    return Hold("ListMultipartUploads", r.prefix, "", false, std::move(r),
                &ObjectStore::ListMultipartUploads);
  }
  Future<PutResult> Copy(CopyRequest r) override {
    return Hold("Copy", r.key, r.source_key, !r.condition.empty(), std::move(r),
                &ObjectStore::Copy);
  }
  Future<void> Delete(DeleteRequest r) override {
    return Hold("Delete", r.key, "", false, std::move(r), &ObjectStore::Delete);
  }
  Future<DeleteManyResult> DeleteMany(DeleteManyRequest r) override {
    return Hold("DeleteMany", "", "", false, std::move(r),
                &ObjectStore::DeleteMany);
  }
  Future<ObjectTags> GetTags(GetTagsRequest r) override {
    return Hold("GetTags", r.key, "", false, std::move(r),
                &ObjectStore::GetTags);
  }
  Future<ListResult> List(ListRequest r) override {
    return Hold("List", r.prefix, "", false, std::move(r), &ObjectStore::List);
  }
  StoreCapabilities capabilities() const override {
    return bucket_.capabilities();
  }

 private:
  template <typename Request, typename T>
  Future<T> Hold(const char* operation, const std::string& key,
                 const std::string& source, bool conditional, Request&& request,
                 Future<T> (ObjectStore::*call)(Request)) {
    ++calls_;
    struct State {
      Request request;
      Promise<T> promise;
      std::optional<Result<T>> result;
    };
    // The key is the request's own: taken before that is moved.
    Call held;
    held.operation = operation;
    held.key = key;
    held.source_key = source;
    held.conditional = conditional;
    auto state = std::make_shared<State>();
    state->request = std::move(request);
    Future<T> future = state->promise.GetFuture();
    Call told = held;
    held.execute = [this, state, call, told = std::move(told)] {
      state->result.emplace((bucket_.*call)(state->request).Get());
      if (observer_) observer_(told, state->result->has_value());
    };
    held.answer = [state](std::optional<ErrorCode> error) {
      if (error) {
        const bool stopped =
            !state->result && state->request.options.stop.stop_requested();
        state->promise.Set(stopped ? Fail(ErrorCode::kCancelled, "cancelled")
                                   : Fail(*error, "injected failure"));
      } else {
        state->promise.Set(*std::move(state->result));
      }
    };
    if (dead_) {
      held.answer(ErrorCode::kUnavailable);
    } else {
      pending_.push_back(std::move(held));
    }
    return future;
  }

  ObjectStore& bucket_;
  Observer observer_;
  std::vector<Call> pending_;
  std::uint64_t calls_ = 0;
  bool dead_ = false;
};

}  // namespace ckptfs::sim
