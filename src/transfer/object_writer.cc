#include "transfer/object_writer.h"

#include <algorithm>
#include <cassert>
#include <deque>
#include <optional>
#include <set>
#include <stop_token>
#include <utility>

#include "transfer/abort_upload.h"
#include "transfer/may_have_happened.h"
#include "transfer/nonce.h"
#include "transfer/written_object.h"

namespace ckptfs {

using PartDone = UniqueFunction<void(Result<CompletedPart>)>;

// Shared by the writer and the coroutines that outlive it; touched on the
// executor alone.
struct ObjectWriter::State {
  State(ObjectStore& s, Executor& e, ObjectWriterOptions o)
      : store(s), executor(e), options(o) {}

  // One part to send: from memory, or from another object.
  struct Job {
    int part_number = 0;
    Payload payload;
    std::string source_key;  // not empty: UploadPartCopy
    ETag source_etag;
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
    PartDone done;
  };
  enum class Phase { kOpen, kCompleting, kPublished, kFailed };
  enum class Create { kNone, kRunning, kEnded };

  ObjectStore& store;
  Executor& executor;
  const ObjectWriterOptions options;
  std::stop_source stop;

  bool begun = false;
  std::string key;
  ObjectAttributes attributes;
  std::string nonce;

  Phase phase = Phase::kOpen;
  std::optional<Error> error;  // set exactly in kFailed

  Create create = Create::kNone;
  bool upload_unknown = false;  // created, perhaps, under an id not heard of
  std::optional<MultipartUpload> upload;

  std::deque<Job> queue;
  std::set<int> in_flight;  // part numbers
  bool pumping = false;
  std::map<int, CompletedPart> parts;
  int calls_running = 0;  // Create, Put and Complete requests
  std::vector<Promise<void>> idle_waiters;

  bool cleanup_started = false;
  std::optional<Result<void>> cleanup_result;
  std::vector<Promise<void>> cleanup_waiters;

  using Ptr = std::shared_ptr<State>;

  bool idle() const {
    return queue.empty() && in_flight.empty() && calls_running == 0;
  }
  void Deliver(PartDone done, Result<CompletedPart> result);
  void NotifyIfIdle();
  void FailWith(Error e);

  static void Enqueue(const Ptr& state, Job job);
  static void Pump(const Ptr& state);
  static void StartCleanup(const Ptr& state);
  static Task<void> CreateUpload(Ptr state);
  static Task<void> Send(Ptr state, Job job);
  static Task<void> WaitIdle(Ptr state);
  static Task<void> Cleanup(Ptr state);
  static Task<Result<void>> AwaitCleanup(Ptr state);
  static Task<Result<ObjectInfo>> Complete(Ptr state, WriteCondition condition,
                                           int last_part);
  static Task<Result<ObjectInfo>> PutWhole(Ptr state, Payload payload,
                                           WriteCondition condition);
  static Task<Result<void>> Abort(Ptr state);
  ObjectInfo Published(std::uint64_t size, PutResult result) const;
};

namespace {

void WakeAll(std::vector<Promise<void>>& waiters) {
  std::vector<Promise<void>> woken = std::exchange(waiters, {});
  for (Promise<void>& p : woken) p.Set({});
}

}  // namespace

// Never on the caller's stack: the owner may react by destroying the writer.
void ObjectWriter::State::Deliver(PartDone done, Result<CompletedPart> result) {
  if (!done) return;
  executor.Post([fn = std::move(done), r = std::move(result)]() mutable {
    fn(std::move(r));
  });
}

void ObjectWriter::State::NotifyIfIdle() {
  if (idle()) WakeAll(idle_waiters);
}

// The first error is the one that counts; what follows are its consequences.
void ObjectWriter::State::FailWith(Error e) {
  if (phase == Phase::kFailed || phase == Phase::kPublished) return;
  phase = Phase::kFailed;
  error = std::move(e);
  std::deque<Job> dropped = std::exchange(queue, {});
  for (Job& job : dropped) Deliver(std::move(job.done), Fail(*error));
  stop.request_stop();
  NotifyIfIdle();
}

void ObjectWriter::State::Enqueue(const Ptr& state, Job job) {
  assert(state->begun);
  if (state->phase != Phase::kOpen) {
    Error e = state->error ? *state->error
                           : Error(ErrorCode::kInvalidArgument,
                                   "a part of " + state->key +
                                       " after its upload was completed");
    state->Deliver(std::move(job.done), Fail(std::move(e)));
    return;
  }
  state->queue.push_back(std::move(job));
  if (state->create == Create::kNone) {
    state->create = Create::kRunning;
    ++state->calls_running;
    Spawn(state->executor, CreateUpload(state));
  }
  Pump(state);
}

// Starts queued parts while the window has room, in order of arrival; a part
// whose number is on the wire waits for it and lets others pass.
void ObjectWriter::State::Pump(const Ptr& state) {
  if (state->pumping) return;  // the loop below goes on, without recursion
  state->pumping = true;
  while (state->upload && state->phase != Phase::kFailed &&
         state->in_flight.size() <
             static_cast<std::size_t>(
                 std::max(1, state->options.max_parts_in_flight))) {
    const auto next = std::find_if(
        state->queue.begin(), state->queue.end(), [&](const Job& job) {
          return !state->in_flight.contains(job.part_number);
        });
    if (next == state->queue.end()) break;
    Job job = std::move(*next);
    state->queue.erase(next);
    state->in_flight.insert(job.part_number);
    Spawn(state->executor, Send(state, std::move(job)));
  }
  state->pumping = false;
  state->NotifyIfIdle();
}

Task<void> ObjectWriter::State::CreateUpload(Ptr state) {
  CreateMultipartRequest request;
  request.key = state->key;
  request.attributes = state->attributes;
  // Not to be stopped: an upload whose id was not heard can only be looked for,
  // and the listing may overtake the creation.
  Result<MultipartUpload> created =
      co_await state->store.CreateMultipart(std::move(request));
  state->create = Create::kEnded;
  --state->calls_running;
  if (created) {
    state->upload = *std::move(created);
  } else {
    state->upload_unknown = MayHaveHappened(created.error());
    // Unknown is whether there is an upload; the object is as it was.
    state->FailWith(
        WithoutEffect(created.error()).WithContext("upload of " + state->key));
  }
  if (state->phase == Phase::kFailed) StartCleanup(state);
  state->NotifyIfIdle();
  Pump(state);
}

Task<void> ObjectWriter::State::Send(Ptr state, Job job) {
  const int number = job.part_number;
  Future<CompletedPart> reply;
  RequestOptions options;
  options.stop = state->stop.get_token();
  if (job.source_key.empty()) {
    UploadPartRequest request;
    request.upload = *state->upload;
    request.part_number = number;
    request.payload = std::exchange(job.payload, {});
    request.options = std::move(options);
    reply = state->store.UploadPart(std::move(request));
  } else {
    UploadPartCopyRequest request;
    request.upload = *state->upload;
    request.part_number = number;
    request.source_key = job.source_key;
    request.source_if_match = job.source_etag;
    request.offset = job.offset;
    request.length = job.length;
    request.options = std::move(options);
    reply = state->store.UploadPartCopy(std::move(request));
  }
  Result<CompletedPart> sent = co_await std::move(reply);
  state->in_flight.erase(number);
  if (!sent) {
    state->FailWith(sent.error().WithContext("part " + std::to_string(number) +
                                             " of " + state->key));
  } else if (state->phase != Phase::kFailed) {
    state->parts[number] = *sent;
  }
  if (state->phase == Phase::kFailed) {
    state->Deliver(std::move(job.done), Fail(*state->error));
    StartCleanup(state);
  } else {
    state->Deliver(std::move(job.done), std::move(sent));
  }
  state->NotifyIfIdle();
  Pump(state);
}

Task<void> ObjectWriter::State::WaitIdle(Ptr state) {
  while (!state->idle()) {
    state->idle_waiters.emplace_back();
    Future<void> woken = state->idle_waiters.back().GetFuture();
    Result<void> r = co_await std::move(woken);
    (void)r;
  }
}

// Once per writer, when it has failed; everybody else waits for this one.
void ObjectWriter::State::StartCleanup(const Ptr& state) {
  if (state->cleanup_started) return;
  state->cleanup_started = true;
  Spawn(state->executor, Cleanup(state));
}

Task<void> ObjectWriter::State::Cleanup(Ptr state) {
  // Aborting under a part on the wire would let the part land behind it.
  co_await WaitIdle(state);
  Result<void> result;
  if (state->phase == Phase::kPublished) {
    // The stop came too late for a Complete or Put: nothing is left over.
  } else if (state->upload) {
    Result<void> aborted = co_await AbortUpload(state->store, *state->upload);
    result = std::move(aborted);
  } else if (state->upload_unknown) {
    Result<void> aborted =
        co_await AbortUnknownUpload(state->store, state->key);
    result = std::move(aborted);
  }
  state->cleanup_result.emplace(std::move(result));
  WakeAll(state->cleanup_waiters);
}

Task<Result<void>> ObjectWriter::State::AwaitCleanup(Ptr state) {
  StartCleanup(state);
  while (!state->cleanup_result) {
    state->cleanup_waiters.emplace_back();
    Future<void> woken = state->cleanup_waiters.back().GetFuture();
    Result<void> r = co_await std::move(woken);
    (void)r;
  }
  Result<void> result = *state->cleanup_result;
  co_return result;
}

ObjectInfo ObjectWriter::State::Published(std::uint64_t size,
                                          PutResult result) const {
  ObjectInfo info;
  info.key = key;
  info.size = size;
  info.etag = std::move(result.etag);
  info.version_id = std::move(result.version_id);
  info.metadata = attributes.metadata;
  info.content_type = attributes.content_type;
  info.headers = attributes.headers;
  info.tag_count = static_cast<int>(attributes.tags.size());
  return info;
}

Task<Result<ObjectInfo>> ObjectWriter::State::Complete(Ptr state,
                                                       WriteCondition condition,
                                                       int last_part) {
  if (state->phase == Phase::kOpen) {
    if (state->create == Create::kNone) {
      co_return Fail(ErrorCode::kInvalidArgument,
                     "upload of " + state->key + " without parts");
    }
    state->phase = Phase::kCompleting;
    co_await WaitIdle(state);
  } else if (state->phase != Phase::kFailed) {
    co_return Fail(ErrorCode::kInvalidArgument,
                   "upload of " + state->key + " completed twice");
  }
  std::optional<Error> open;  // of a Complete that may have had its effect
  std::uint64_t size = 0;
  if (state->phase == Phase::kCompleting) {
    CompleteMultipartRequest request;
    request.upload = *state->upload;
    for (const auto& [number, part] : state->parts) {
      if (number > last_part) break;
      request.parts.push_back(part);
      size += part.size;
    }
    request.condition = std::move(condition);
    request.nonce = state->nonce;
    request.options.stop = state->stop.get_token();
    ++state->calls_running;
    Result<PutResult> completed =
        co_await state->store.CompleteMultipart(std::move(request));
    --state->calls_running;
    if (completed) {
      // Also if Abort was called meanwhile: it came too late.
      state->phase = Phase::kPublished;
      state->error.reset();
      state->NotifyIfIdle();
      co_return state->Published(size, *std::move(completed));
    }
    const Error failure =
        completed.error().WithContext("publishing " + state->key);
    if (MayHaveHappened(failure)) open = failure;
    state->FailWith(failure);
    state->NotifyIfIdle();
  }
  // The caller may write the same name again at once; nothing of this attempt
  // is left by then. What could not be removed does not hide the cause.
  Error cause = *state->error;
  Result<void> cleaned = co_await AwaitCleanup(state);
  if (open) {
    // An upload that is gone was aborted or completed: the object tells which,
    // and it cannot change any more by this upload.
    Result<std::optional<ObjectInfo>> found =
        co_await FindWritten(state->store, state->key, state->nonce, size);
    if (found && *found) {
      state->phase = Phase::kPublished;
      state->error.reset();
      PutResult published{(*found)->etag, (*found)->version_id};
      co_return state->Published(size, std::move(published));
    }
    if (open->code() == ErrorCode::kOutcomeUnknown) {
      const bool certain = found.has_value() && cleaned.has_value();
      if (!certain) cause = *open;
      if (certain) cause = WithoutEffect(cause);
    }
  }
  if (!cleaned) {
    co_return Fail(cause.WithContext(cleaned.error().message()));
  }
  co_return Fail(cause);
}

Task<Result<ObjectInfo>> ObjectWriter::State::PutWhole(
    Ptr state, Payload payload, WriteCondition condition) {
  if (state->phase != Phase::kOpen) {
    Error e = state->error ? *state->error
                           : Error(ErrorCode::kInvalidArgument,
                                   state->key + " was written already");
    co_return Fail(std::move(e));
  }
  state->phase = Phase::kCompleting;
  const std::uint64_t size = payload.size();
  const std::string nonce = state->attributes.metadata[kNonceMetadataName];
  PutRequest request;
  request.key = state->key;
  request.payload = std::move(payload);
  request.attributes = state->attributes;
  request.condition = std::move(condition);
  request.options.stop = state->stop.get_token();
  ++state->calls_running;
  Result<PutResult> put = co_await state->store.Put(std::move(request));
  if (!put && MayHaveHappened(put.error())) {
    Result<std::optional<ObjectInfo>> found =
        co_await FindWritten(state->store, state->key, nonce, size);
    if (found && *found) {
      put = PutResult{(*found)->etag, (*found)->version_id};
    } else if (put.error().code() == ErrorCode::kOutcomeUnknown) {
      // Also if Abort was called meanwhile: nothing is known for sure.
      state->error = put.error();
    }
  }
  --state->calls_running;
  if (put) {
    state->phase = Phase::kPublished;
    state->error.reset();
    state->NotifyIfIdle();
    co_return state->Published(size, *std::move(put));
  }
  state->FailWith(put.error().WithContext("publishing " + state->key));
  state->NotifyIfIdle();
  co_return Fail(*state->error);
}

Task<Result<void>> ObjectWriter::State::Abort(Ptr state) {
  if (state->phase == Phase::kPublished) co_return Result<void>();
  state->FailWith(Error(ErrorCode::kCancelled,
                        "the upload of " + state->key + " was aborted"));
  co_await WaitIdle(state);
  if (state->phase == Phase::kPublished) co_return Result<void>();
  Result<void> cleaned = co_await AwaitCleanup(state);
  co_return cleaned;
}

ObjectWriter::ObjectWriter(ObjectStore& store, Executor& executor,
                           ObjectWriterOptions options)
    : state_(std::make_shared<State>(store, executor, options)) {}

ObjectWriter::~ObjectWriter() {
  if (state_->phase == State::Phase::kPublished) return;
  state_->FailWith(Error(ErrorCode::kCancelled,
                         "the writer of " + state_->key + " was destroyed"));
  State::StartCleanup(state_);
}

void ObjectWriter::Begin(std::string key, ObjectAttributes attributes) {
  assert(!state_->begun && state_->phase == State::Phase::kOpen);
  state_->begun = true;
  state_->key = std::move(key);
  state_->attributes = std::move(attributes);
  state_->nonce = MakeNonce();
  state_->attributes.metadata[kNonceMetadataName] = state_->nonce;
}

bool ObjectWriter::begun() const { return state_->begun; }

const std::string& ObjectWriter::bound_key() const {
  assert(state_->begun);
  return state_->key;
}

void ObjectWriter::UploadPart(int part_number, Payload payload, PartDone done) {
  State::Job job;
  job.part_number = part_number;
  job.payload = std::move(payload);
  job.done = std::move(done);
  State::Enqueue(state_, std::move(job));
}

void ObjectWriter::CopyPart(int part_number, std::string source_key,
                            ETag source_etag, std::uint64_t offset,
                            std::uint64_t length, PartDone done) {
  State::Job job;
  job.part_number = part_number;
  job.source_key = std::move(source_key);
  job.source_etag = std::move(source_etag);
  job.offset = offset;
  job.length = length;
  job.done = std::move(done);
  State::Enqueue(state_, std::move(job));
}

int ObjectWriter::parts_pending() const {
  return static_cast<int>(state_->queue.size() + state_->in_flight.size());
}

Task<Result<ObjectInfo>> ObjectWriter::Complete(WriteCondition condition,
                                                int last_part) {
  return State::Complete(state_, std::move(condition), last_part);
}

Task<Result<ObjectInfo>> ObjectWriter::PutWhole(std::string key,
                                                Payload payload,
                                                ObjectAttributes attributes,
                                                WriteCondition condition) {
  assert(!state_->begun);
  state_->key = std::move(key);
  state_->attributes = std::move(attributes);
  state_->attributes.metadata[kNonceMetadataName] = MakeNonce();
  return State::PutWhole(state_, std::move(payload), std::move(condition));
}

Task<Result<void>> ObjectWriter::Abort() { return State::Abort(state_); }

}  // namespace ckptfs
