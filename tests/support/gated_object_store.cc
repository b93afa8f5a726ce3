#include "support/gated_object_store.h"

#include <algorithm>
#include <stop_token>

namespace ckptfs {
namespace {

// Sets promises on the thread that finished the wrapped call; what it runs
// never calls further, so running at once is harmless here.
class InlineExecutor final : public Executor {
 public:
  void Post(UniqueFunction<void()> fn) override { fn(); }
};

}  // namespace

const char* StoreOperationName(StoreOperation operation) {
  switch (operation) {
    case StoreOperation::kHead: return "Head";
    case StoreOperation::kGet: return "Get";
    case StoreOperation::kPut: return "Put";
    case StoreOperation::kCreateMultipart: return "CreateMultipart";
    case StoreOperation::kUploadPart: return "UploadPart";
    case StoreOperation::kUploadPartCopy: return "UploadPartCopy";
    case StoreOperation::kCompleteMultipart: return "CompleteMultipart";
    case StoreOperation::kAbortMultipart: return "AbortMultipart";
    case StoreOperation::kListParts: return "ListParts";
    case StoreOperation::kListMultipartUploads: return "ListMultipartUploads";
    case StoreOperation::kCopy: return "Copy";
    case StoreOperation::kDelete: return "Delete";
    case StoreOperation::kDeleteMany: return "DeleteMany";
    case StoreOperation::kGetTags: return "GetTags";
    case StoreOperation::kList: return "List";
  }
  return "?";
}

std::string StoreCall::ToString() const {
  std::string text = "#" + std::to_string(id) + " ";
  text += StoreOperationName(operation);
  text += " " + key;
  if (part_number > 0) text += " part " + std::to_string(part_number);
  if (operation == StoreOperation::kGet) {
    text += " [" + std::to_string(offset) + ", +" + std::to_string(size) + ")";
  }
  if (cancelled) text += " (cancelled)";
  return text;
}

struct GatedObjectStore::Held {
  virtual ~Held() = default;
  virtual bool stop_requested() const = 0;
  // Once. With `certain`, a stop request no longer keeps it from happening.
  virtual void Perform(ObjectStore& target, bool certain) = 0;
  // Once, as the last call: the performed result, or `error` in its place.
  virtual void Answer(std::optional<Error> error) = 0;

  StoreCall call;
};

template <typename T, typename Request>
struct GatedObjectStore::HeldCall final : Held {
  Request request;
  Future<T> (ObjectStore::*operation)(Request);
  std::stop_token stop;
  Promise<T> promise;
  Future<T> performed;

  HeldCall(StoreCall c, Request r, Future<T> (ObjectStore::*op)(Request))
      : request(std::move(r)), operation(op), stop(request.options.stop) {
    call = std::move(c);
  }
  bool stop_requested() const override { return stop.stop_requested(); }
  void Perform(ObjectStore& target, bool certain) override {
    if (certain) request.options.stop = {};
    performed = (target.*operation)(std::move(request));
  }
  void Answer(std::optional<Error> error) override {
    if (!performed.valid()) {
      promise.Set(Fail(*std::move(error)));
      return;
    }
    if (performed.ready()) {
      Result<T> result = std::move(performed).Get();
      promise.Set(error ? Result<T>(Fail(*std::move(error)))
                        : std::move(result));
      return;
    }
    // The executor is stateless: one per pending answer, owned by it.
    auto executor = std::make_shared<InlineExecutor>();
    Executor& where = *executor;
    std::move(performed).Then(
        where, [promise = std::move(promise), error = std::move(error),
                executor](Result<T> result) mutable {
          promise.Set(error ? Result<T>(Fail(*std::move(error)))
                            : std::move(result));
        });
  }
};

GatedObjectStore::GatedObjectStore(ObjectStore& target) : target_(target) {}

GatedObjectStore::~GatedObjectStore() = default;

void GatedObjectStore::SetPolicy(Policy policy) {
  std::lock_guard lock(mu_);
  policy_ = std::move(policy);
}

void GatedObjectStore::HoldAll() { SetPolicy(nullptr); }

void GatedObjectStore::ForwardAll() {
  SetPolicy([](const StoreCall&) { return Verdict::Forward(); });
}

std::vector<StoreCall> GatedObjectStore::pending() const {
  std::lock_guard lock(mu_);
  std::vector<StoreCall> out;
  for (const auto& [id, held] : held_) {
    out.push_back(held->call);
    out.back().cancelled = held->stop_requested();
  }
  return out;
}

std::vector<StoreCall> GatedObjectStore::log() const {
  std::lock_guard lock(mu_);
  return log_;
}

std::size_t GatedObjectStore::CountOf(StoreOperation operation) const {
  std::lock_guard lock(mu_);
  return static_cast<std::size_t>(std::count_if(
      log_.begin(), log_.end(),
      [&](const StoreCall& c) { return c.operation == operation; }));
}

std::unique_ptr<GatedObjectStore::Held> GatedObjectStore::TakeHeld(
    std::uint64_t id) {
  std::lock_guard lock(mu_);
  const auto it = held_.find(id);
  if (it == held_.end()) return nullptr;
  std::unique_ptr<Held> held = std::move(it->second);
  held_.erase(it);
  return held;
}

void GatedObjectStore::End(std::unique_ptr<Held> held, Verdict verdict) {
  const bool forward = !verdict.error && verdict.answer;
  if (verdict.effect && !held->call.performed) {
    held->Perform(target_, !forward);
  }
  if (verdict.answer) {
    held->Answer(std::move(verdict.error));
    return;
  }
  std::lock_guard lock(mu_);
  unanswered_.push_back(std::move(held));
}

bool GatedObjectStore::Release(std::uint64_t id, Verdict verdict) {
  std::unique_ptr<Held> held = TakeHeld(id);
  if (held == nullptr) return false;
  End(std::move(held), std::move(verdict));
  return true;
}

bool GatedObjectStore::ReleaseNext(Verdict verdict) {
  const std::vector<StoreCall> calls = pending();
  return !calls.empty() && Release(calls.front().id, std::move(verdict));
}

bool GatedObjectStore::ReleaseNext(StoreOperation operation, Verdict verdict) {
  for (const StoreCall& call : pending()) {
    if (call.operation == operation) {
      return Release(call.id, std::move(verdict));
    }
  }
  return false;
}

std::size_t GatedObjectStore::ReleaseAll(const Verdict& verdict) {
  std::size_t released = 0;
  for (const StoreCall& call : pending()) {
    if (Release(call.id, verdict)) ++released;
  }
  return released;
}

bool GatedObjectStore::Perform(std::uint64_t id) {
  std::unique_ptr<Held> held = TakeHeld(id);
  if (held == nullptr) return false;
  if (!held->call.performed) {
    held->Perform(target_, true);
    held->call.performed = true;
  }
  std::lock_guard lock(mu_);
  held_[id] = std::move(held);
  return true;
}

void GatedObjectStore::Crash(
    const std::function<bool(const StoreCall&)>& lands) {
  std::vector<std::unique_ptr<Held>> in_flight;
  std::vector<std::unique_ptr<Held>> unanswered;
  {
    std::lock_guard lock(mu_);
    crashed_ = true;
    for (auto& [id, held] : held_) in_flight.push_back(std::move(held));
    held_.clear();
    unanswered = std::move(unanswered_);
    unanswered_.clear();
  }
  const Error dead(ErrorCode::kUnavailable, "injected: the process is dead");
  for (auto& held : in_flight) {
    const bool landed = lands(held->call);
    End(std::move(held), {landed, true, dead});
  }
  for (auto& held : unanswered) held->Answer(dead);
}

bool GatedObjectStore::crashed() const {
  std::lock_guard lock(mu_);
  return crashed_;
}

template <typename T, typename Request>
Future<T> GatedObjectStore::Enter(
    StoreCall call, Request request,
    Future<T> (ObjectStore::*operation)(Request)) {
  call.cancelled = request.options.stop.stop_requested();
  Policy policy;
  {
    std::lock_guard lock(mu_);
    call.id = log_.size();
    log_.push_back(call);
    if (crashed_) {
      return Future<T>(
          Fail(ErrorCode::kUnavailable, "injected: the process is dead"));
    }
    policy = policy_;
  }
  std::optional<Verdict> verdict;
  if (policy) verdict = policy(call);
  auto held = std::make_unique<HeldCall<T, Request>>(call, std::move(request),
                                                     operation);
  Future<T> future = held->promise.GetFuture();
  if (verdict) {
    End(std::move(held), *std::move(verdict));
  } else {
    std::lock_guard lock(mu_);
    held_[call.id] = std::move(held);
  }
  return future;
}

namespace {

StoreCall CallOn(StoreOperation operation, const std::string& key) {
  StoreCall call;
  call.operation = operation;
  call.key = key;
  return call;
}

}  // namespace

Future<ObjectInfo> GatedObjectStore::Head(HeadRequest request) {
  StoreCall call = CallOn(StoreOperation::kHead, request.key);
  return Enter(std::move(call), std::move(request), &ObjectStore::Head);
}

Future<GetResult> GatedObjectStore::Get(GetRequest request) {
  StoreCall call = CallOn(StoreOperation::kGet, request.key);
  call.offset = request.offset;
  call.size = request.destination.size();
  call.has_condition = !request.if_match.empty();
  return Enter(std::move(call), std::move(request), &ObjectStore::Get);
}

Future<PutResult> GatedObjectStore::Put(PutRequest request) {
  StoreCall call = CallOn(StoreOperation::kPut, request.key);
  call.size = request.payload.size();
  call.has_condition = !request.condition.empty();
  return Enter(std::move(call), std::move(request), &ObjectStore::Put);
}

Future<MultipartUpload> GatedObjectStore::CreateMultipart(
    CreateMultipartRequest request) {
  StoreCall call = CallOn(StoreOperation::kCreateMultipart, request.key);
  return Enter(std::move(call), std::move(request),
               &ObjectStore::CreateMultipart);
}

Future<CompletedPart> GatedObjectStore::UploadPart(UploadPartRequest request) {
  StoreCall call = CallOn(StoreOperation::kUploadPart, request.upload.key);
  call.part_number = request.part_number;
  call.size = request.payload.size();
  return Enter(std::move(call), std::move(request), &ObjectStore::UploadPart);
}

Future<CompletedPart> GatedObjectStore::UploadPartCopy(
    UploadPartCopyRequest request) {
  StoreCall call = CallOn(StoreOperation::kUploadPartCopy, request.upload.key);
  call.part_number = request.part_number;
  call.offset = request.offset;
  call.size = request.length;
  call.has_condition = !request.source_if_match.empty();
  return Enter(std::move(call), std::move(request),
               &ObjectStore::UploadPartCopy);
}

Future<PutResult> GatedObjectStore::CompleteMultipart(
    CompleteMultipartRequest request) {
  StoreCall call =
      CallOn(StoreOperation::kCompleteMultipart, request.upload.key);
  call.has_condition = !request.condition.empty();
  return Enter(std::move(call), std::move(request),
               &ObjectStore::CompleteMultipart);
}

Future<void> GatedObjectStore::AbortMultipart(AbortMultipartRequest request) {
  StoreCall call = CallOn(StoreOperation::kAbortMultipart, request.upload.key);
  return Enter(std::move(call), std::move(request),
               &ObjectStore::AbortMultipart);
}

Future<ListPartsResult> GatedObjectStore::ListParts(ListPartsRequest request) {
  StoreCall call = CallOn(StoreOperation::kListParts, request.upload.key);
  return Enter(std::move(call), std::move(request), &ObjectStore::ListParts);
}

Future<ListUploadsResult> GatedObjectStore::ListMultipartUploads(
    ListUploadsRequest request) {
  StoreCall call =
      CallOn(StoreOperation::kListMultipartUploads, request.prefix);
  return Enter(std::move(call), std::move(request),
               &ObjectStore::ListMultipartUploads);
}

Future<PutResult> GatedObjectStore::Copy(CopyRequest request) {
  StoreCall call = CallOn(StoreOperation::kCopy, request.key);
  call.has_condition = !request.condition.empty();
  return Enter(std::move(call), std::move(request), &ObjectStore::Copy);
}

Future<void> GatedObjectStore::Delete(DeleteRequest request) {
  StoreCall call = CallOn(StoreOperation::kDelete, request.key);
  call.has_condition = !request.if_match.empty();
  return Enter(std::move(call), std::move(request), &ObjectStore::Delete);
}

Future<DeleteManyResult> GatedObjectStore::DeleteMany(
    DeleteManyRequest request) {
  StoreCall call = CallOn(StoreOperation::kDeleteMany,
                          request.keys.empty() ? "" : request.keys.front());
  return Enter(std::move(call), std::move(request), &ObjectStore::DeleteMany);
}

Future<ObjectTags> GatedObjectStore::GetTags(GetTagsRequest request) {
  StoreCall call = CallOn(StoreOperation::kGetTags, request.key);
  return Enter(std::move(call), std::move(request), &ObjectStore::GetTags);
}

Future<ListResult> GatedObjectStore::List(ListRequest request) {
  StoreCall call = CallOn(StoreOperation::kList, request.prefix);
  return Enter(std::move(call), std::move(request), &ObjectStore::List);
}

StoreCapabilities GatedObjectStore::capabilities() const {
  return target_.capabilities();
}

}  // namespace ckptfs
