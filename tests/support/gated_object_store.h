// GatedObjectStore: puts the test in charge of when, in which order and how
// every store call ends. Each call is a point where the network may fail or
// the process may die.
//
//   MemoryObjectStore bucket;
//   GatedObjectStore store(bucket);          // holds every call
//   writer.UploadPart(1, ...);
//   store.pending();                         // what waits, oldest first
//   store.Release(id);                       // takes effect and answers
//   store.Release(id, Verdict::FailBefore()) // no effect, kUnavailable
//   store.Release(id, Verdict::LoseReply())  // effect, and kUnavailable
//   store.Perform(id);                       // effect now, answer later
//   store.SetPolicy(...);                    // decide on arrival instead
//   store.Crash(...);                        // the process dies here
//
// A seeded scheduler alternates between running the executor and picking one
// of pending() and a Verdict for it; the effects then happen in that order.
// Calls that are never released stay unanswered, as after a network partition
// without deadlines.
//
// A process death is simulated by Crash: calls in flight land or not, as the
// test chooses, and from then on nothing the dead process does has an effect.
// Its coroutines run on to their end on errors, so nothing leaks, and what
// another process would find is in the wrapped store.
#pragma once

#include <ckptfs/object_store.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace ckptfs {

enum class StoreOperation {
  kHead,
  kGet,
  kPut,
  kCreateMultipart,
  kUploadPart,
  kUploadPartCopy,
  kCompleteMultipart,
  kAbortMultipart,
  kListParts,
  kListMultipartUploads,
  kCopy,
  kDelete,
  kDeleteMany,
  kGetTags,
  kList,
};
const char* StoreOperationName(StoreOperation operation);

// One call, as far as schedulers and assertions need it.
struct StoreCall {
  std::uint64_t id = 0;  // 0, 1, 2 ... in order of arrival
  StoreOperation operation = StoreOperation::kHead;
  std::string key;           // the prefix, for listings
  int part_number = 0;       // of UploadPart and UploadPartCopy
  std::uint64_t offset = 0;  // of Get and UploadPartCopy
  std::uint64_t size = 0;    // bytes to send, receive or copy
  bool has_condition = false;
  // Its stop was requested; as of the moment pending() was called.
  bool cancelled = false;
  // Perform was called: it has taken effect and waits for its answer.
  bool performed = false;

  // "UploadPart a/b part 3", for failure messages.
  std::string ToString() const;
};

// How a call ends.
struct Verdict {
  bool effect = true;            // it reaches the wrapped store
  bool answer = true;            // false: the caller never hears of it
  std::optional<Error> error{};  // what the caller gets instead of the result

  // Takes effect and answers what the wrapped store says (kCancelled without
  // effect, when the caller has requested a stop).
  static Verdict Forward() { return {}; }
  // The request got lost on its way.
  static Verdict FailBefore(Error error = Error(ErrorCode::kUnavailable,
                                                "injected: request lost")) {
    return {false, true, std::move(error)};
  }
  // The reply got lost on its way.
  static Verdict LoseReply(Error error = Error(ErrorCode::kUnavailable,
                                               "injected: reply lost")) {
    return {true, true, std::move(error)};
  }
  // The caller's stop request was in time, or came too late for the server.
  static Verdict CancelBefore() {
    return FailBefore(Error(ErrorCode::kCancelled, "injected: cancelled"));
  }
  static Verdict CancelAfter() {
    return LoseReply(Error(ErrorCode::kCancelled, "injected: cancelled"));
  }
  // Unanswered until Crash or the end of the store.
  static Verdict NeverAnswer(bool with_effect) {
    return {with_effect, false, std::nullopt};
  }
};

// Thread-safe. The wrapped store must outlive it. Destroying it answers
// whatever is unanswered with kInternal. The policy runs under no lock, on the
// calling thread, and must not call back into this store.
class GatedObjectStore : public ObjectStore {
 public:
  // Decides on arrival: a Verdict, or nullopt to hold the call.
  using Policy = std::function<std::optional<Verdict>(const StoreCall&)>;

  explicit GatedObjectStore(ObjectStore& target);
  ~GatedObjectStore() override;

  // Applies to calls that arrive from now on. Initially every call is held.
  void SetPolicy(Policy policy);
  void HoldAll();
  void ForwardAll();

  // Held calls, oldest first.
  std::vector<StoreCall> pending() const;
  // Every call since construction, in order of arrival.
  std::vector<StoreCall> log() const;
  std::size_t CountOf(StoreOperation operation) const;

  // Ends the held call `id`; false if there is no such call. A call that was
  // performed before does not take effect again.
  bool Release(std::uint64_t id, Verdict verdict = Verdict::Forward());
  // Ends the oldest held call, or the oldest of that kind.
  bool ReleaseNext(Verdict verdict = Verdict::Forward());
  bool ReleaseNext(StoreOperation operation,
                   Verdict verdict = Verdict::Forward());
  // Ends what is held at this moment, oldest first; how many that were.
  std::size_t ReleaseAll(const Verdict& verdict = Verdict::Forward());
  // Lets the held call `id` take effect without answering it.
  bool Perform(std::uint64_t id);

  // The process dies: `lands` says for each held call whether the server still
  // executes it. Held, unanswered and all later calls end with kUnavailable
  // and have no further effect.
  void Crash(const std::function<bool(const StoreCall&)>& lands);
  bool crashed() const;

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
  struct Held;  // one unfinished call, whatever its type
  template <typename T, typename Request>
  struct HeldCall;

  template <typename T, typename Request>
  Future<T> Enter(StoreCall call, Request request,
                  Future<T> (ObjectStore::*operation)(Request));
  std::unique_ptr<Held> TakeHeld(std::uint64_t id);
  void End(std::unique_ptr<Held> held, Verdict verdict);

  ObjectStore& target_;
  mutable std::mutex mu_;  // leaf: never held while a store or policy is called
  // Guarded by mu_.
  Policy policy_;
  bool crashed_ = false;
  std::vector<StoreCall> log_;
  std::map<std::uint64_t, std::unique_ptr<Held>> held_;  // by id
  std::vector<std::unique_ptr<Held>> unanswered_;
};

}  // namespace ckptfs
