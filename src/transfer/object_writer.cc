#include "transfer/object_writer.h"

#include <algorithm>
#include <cassert>
#include <cstdio>
#include <deque>
#include <optional>
#include <random>
#include <set>
#include <stop_token>
#include <utility>

#include "common/log.h"
#include "transfer/part_plan.h"

namespace ckptfs {

namespace {

// 128 random bits: two writers must never take each other's object for theirs.
std::string MakeNonce() {
  std::random_device device;
  char text[33];
  std::snprintf(text, sizeof text, "%08x%08x%08x%08x", device(), device(),
                device(), device());
  return text;
}

// Parts that were on the wire may land after an abort (Amazon S3 API
// Reference, AbortMultipartUpload): look again, a few times.
constexpr int kAbortAttempts = 5;

Task<Result<void>> AbortUpload(ObjectStore& store, MultipartUpload upload) {
  for (int attempt = 0; attempt < kAbortAttempts; ++attempt) {
    Result<void> aborted =
        co_await store.AbortMultipart({.upload = upload, .options = {}});
    CKPTFS_CO_RETURN_IF_ERROR(aborted);
    Result<ListPartsResult> left = co_await store.ListParts(
        {.upload = upload, .part_number_marker = 0, .options = {}});
    if (!left && left.error().code() == ErrorCode::kNotFound) {
      co_return Result<void>();
    }
    CKPTFS_CO_RETURN_IF_ERROR(left);
    if (left->parts.empty()) co_return Result<void>();
  }
  co_return Fail(ErrorCode::kUnavailable,
                 "parts of the upload " + upload.upload_id + " of " +
                     upload.key + " keep appearing after it was aborted");
}

}  // namespace

// Outlives the writer while something is in flight.
struct ObjectWriter::State : std::enable_shared_from_this<State> {
  struct Transfer {
    int number;
    UniqueFunction<Future<CompletedPart>(MultipartUpload, RequestOptions)> send;
    UniqueFunction<void(Result<CompletedPart>)> done;
  };

  State(ObjectStore& s, Executor& e, ObjectWriterOptions o)
      : store(s), executor(e), options(o) {}

  ObjectStore& store;
  Executor& executor;
  const ObjectWriterOptions options;

  bool begun = false;
  bool finished = false;  // committed or aborted
  std::string key;
  ObjectAttributes attributes;
  std::string nonce;
  std::stop_source stop;

  bool create_started = false;
  std::optional<MultipartUpload> upload;
  std::deque<Transfer> queue;
  std::set<int> on_wire;  // one transfer of a part number at a time
  std::map<int, CompletedPart> parts;
  std::optional<Error> error;
  bool aborting = false;

  struct Waiter {
    std::coroutine_handle<> handle;
  };
  std::vector<Waiter> idle_waiters;

  bool busy() const {
    return !on_wire.empty() || !queue.empty() || (create_started && !upload &&
                                                  !error);
  }

  struct IdleAwaiter {
    State* state;
    bool await_ready() const { return !state->busy(); }
    void await_suspend(std::coroutine_handle<> h) {
      state->idle_waiters.push_back({h});
    }
    void await_resume() {}
  };

  void NotifyIfIdle() {
    if (busy()) return;
    for (const Waiter& w : std::exchange(idle_waiters, {})) {
      executor.Post([h = w.handle] { h.resume(); });
    }
  }

  void SetError(Error e) {
    if (!error) error = std::move(e);
    stop.request_stop();
    for (Transfer& t : std::exchange(queue, {})) t.done(Fail(*error));
  }

  void Enqueue(Transfer transfer) {
    if (error) {
      // Never on the caller's stack.
      executor.Post([done = std::move(transfer.done), e = *error]() mutable {
        done(Fail(e));
      });
      return;
    }
    queue.push_back(std::move(transfer));
    if (!create_started) {
      create_started = true;
      Spawn(executor, Create(shared_from_this()));
    }
    Pump();
  }

  static Task<void> Create(std::shared_ptr<State> self) {
    CreateMultipartRequest request;
    request.key = self->key;
    request.attributes = self->attributes;
    request.options.stop = self->stop.get_token();
    Result<MultipartUpload> made =
        co_await self->store.CreateMultipart(std::move(request));
    if (!made) {
      self->SetError(made.error());
    } else {
      self->upload = *std::move(made);
      if (self->error || self->aborting) {
        // Abort() waits for this through busy(); a writer that was destroyed
        // has set `aborting` and nobody waits.
      } else {
        self->Pump();
      }
    }
    self->NotifyIfIdle();
  }

  void Pump() {
    if (!upload || error || aborting) return;
    while (on_wire.size() <
           static_cast<std::size_t>(options.max_parts_in_flight)) {
      const auto next =
          std::find_if(queue.begin(), queue.end(), [&](const Transfer& t) {
            return on_wire.count(t.number) == 0;
          });
      if (next == queue.end()) return;
      Transfer transfer = std::move(*next);
      queue.erase(next);
      on_wire.insert(transfer.number);
      Spawn(executor, Run(shared_from_this(), std::move(transfer)));
    }
  }

  static Task<void> Run(std::shared_ptr<State> self, Transfer transfer) {
    RequestOptions request_options;
    request_options.stop = self->stop.get_token();
    Future<CompletedPart> sent =
        transfer.send(*self->upload, std::move(request_options));
    Result<CompletedPart> part = co_await std::move(sent);
    self->on_wire.erase(transfer.number);
    if (part) {
      self->parts[transfer.number] = *part;
    } else {
      self->SetError(part.error());
    }
    transfer.done(std::move(part));
    self->Pump();
    self->NotifyIfIdle();
  }

  // Cancels, waits for what is on the wire, aborts.
  static Task<Result<void>> AbortAll(std::shared_ptr<State> self) {
    self->aborting = true;
    self->SetError(Error(ErrorCode::kCancelled, "the upload was given up"));
    co_await IdleAwaiter{self.get()};
    if (self->finished || !self->upload) {
      self->finished = true;
      co_return Result<void>();
    }
    Result<void> aborted = co_await AbortUpload(self->store, *self->upload);
    if (aborted) self->finished = true;
    co_return aborted;
  }

  static Task<void> AbortInBackground(std::shared_ptr<State> self) {
    Result<void> aborted = co_await AbortAll(self);
    if (!aborted) {
      LogError("an upload may be left over: " + aborted.error().ToString());
    }
  }
};

ObjectWriter::ObjectWriter(ObjectStore& store, Executor& executor,
                           ObjectWriterOptions options)
    : state_(std::make_shared<State>(store, executor, options)) {}

ObjectWriter::~ObjectWriter() {
  if (state_->create_started && !state_->finished) {
    Spawn(state_->executor, State::AbortInBackground(state_));
  }
}

void ObjectWriter::Begin(std::string key, ObjectAttributes attributes) {
  assert(!state_->begun);
  state_->begun = true;
  state_->key = std::move(key);
  state_->nonce = MakeNonce();
  state_->attributes = std::move(attributes);
  state_->attributes.metadata[kNonceMetadataName] = state_->nonce;
}

bool ObjectWriter::begun() const { return state_->begun; }

const std::string& ObjectWriter::bound_key() const { return state_->key; }

int ObjectWriter::parts_pending() const {
  return static_cast<int>(state_->queue.size() + state_->on_wire.size());
}

void ObjectWriter::UploadPart(
    int part_number, Payload payload,
    UniqueFunction<void(Result<CompletedPart>)> done) {
  state_->Enqueue(
      {part_number,
       [store = &state_->store, part_number, payload = std::move(payload)](
           MultipartUpload upload, RequestOptions options) mutable {
         return store->UploadPart({std::move(upload), part_number,
                                   std::move(payload), std::move(options)});
       },
       std::move(done)});
}

void ObjectWriter::CopyPart(int part_number, std::string source_key,
                            ETag source_etag, std::uint64_t offset,
                            std::uint64_t length,
                            UniqueFunction<void(Result<CompletedPart>)> done) {
  state_->Enqueue(
      {part_number,
       [store = &state_->store, part_number, key = std::move(source_key),
        etag = std::move(source_etag), offset,
        length](MultipartUpload upload, RequestOptions options) mutable {
         return store->UploadPartCopy({std::move(upload), part_number,
                                       std::move(key), std::move(etag), offset,
                                       length, std::move(options)});
       },
       std::move(done)});
}

Task<Result<ObjectInfo>> ObjectWriter::Complete(WriteCondition condition) {
  std::shared_ptr<State> state = state_;
  co_await State::IdleAwaiter{state.get()};
  if (!state->error) {
    CompleteMultipartRequest request;
    request.upload = *state->upload;
    std::uint64_t size = 0;
    for (const auto& [number, part] : state->parts) {
      request.parts.push_back(part);
      size += part.size;
    }
    request.condition = std::move(condition);
    request.nonce = state->nonce;
    Result<PutResult> done =
        co_await state->store.CompleteMultipart(std::move(request));
    if (done) {
      state->finished = true;
      ObjectInfo info;
      info.key = state->key;
      info.size = size;
      info.etag = done->etag;
      info.version_id = done->version_id;
      info.metadata = state->attributes.metadata;
      info.content_type = state->attributes.content_type;
      co_return info;
    }
    state->error = done.error();
  }
  const Error error = *state->error;
  Result<void> aborted = co_await State::AbortAll(state);
  if (!aborted) {
    LogError("an upload may be left over: " + aborted.error().ToString());
  }
  co_return Fail(error);
}

Task<Result<ObjectInfo>> ObjectWriter::PutWhole(std::string key,
                                                Payload payload,
                                                ObjectAttributes attributes,
                                                WriteCondition condition) {
  std::shared_ptr<State> state = state_;
  assert(!state->begun);
  state->begun = state->finished = true;
  state->key = key;
  // With it, a store can tell its own lost success from somebody else's.
  if (!condition.empty()) {
    attributes.metadata[kNonceMetadataName] = MakeNonce();
  }
  ObjectInfo info;
  info.key = key;
  info.size = payload.size();
  info.metadata = attributes.metadata;
  info.content_type = attributes.content_type;
  PutRequest request;
  request.key = std::move(key);
  request.payload = std::move(payload);
  request.attributes = std::move(attributes);
  request.condition = std::move(condition);
  request.options.stop = state->stop.get_token();
  Result<PutResult> put = co_await state->store.Put(std::move(request));
  CKPTFS_CO_RETURN_IF_ERROR(put);
  info.etag = put->etag;
  info.version_id = put->version_id;
  co_return info;
}

Task<Result<void>> ObjectWriter::Abort() {
  std::shared_ptr<State> state = state_;
  Result<void> aborted = co_await State::AbortAll(state);
  co_return aborted;
}

Task<Result<ObjectInfo>> CopyObject(ObjectStore& store, Executor& executor,
                                    std::string source_key, ETag source_etag,
                                    std::uint64_t source_size, std::string key,
                                    WriteCondition condition) {
  ObjectInfo info;
  info.key = key;
  info.size = source_size;
  // S3's limit for one CopyObject.
  if (source_size <= kMaxPartBytes) {
    CopyRequest request;
    request.source_key = std::move(source_key);
    request.source_if_match = std::move(source_etag);
    request.key = std::move(key);
    request.condition = std::move(condition);
    Result<PutResult> copied = co_await store.Copy(std::move(request));
    CKPTFS_CO_RETURN_IF_ERROR(copied);
    info.etag = copied->etag;
    info.version_id = copied->version_id;
    co_return info;
  }
  // A multipart copy does not carry attributes along: replay them.
  Result<ObjectInfo> head =
      co_await store.Head({.key = source_key, .options = {}});
  CKPTFS_CO_RETURN_IF_ERROR(head);
  constexpr std::uint64_t kChunk = 1ull << 30;
  const std::uint64_t chunk = std::max(kChunk, source_size / 9'000 + 1);
  ObjectWriter writer(store, executor, {});
  writer.Begin(std::move(key), {head->metadata, head->content_type});
  // The last part takes the remainder, so that none is below 5 MiB.
  const std::uint64_t parts = std::max<std::uint64_t>(1, source_size / chunk);
  for (std::uint64_t i = 0; i < parts; ++i) {
    const std::uint64_t begin = i * chunk;
    const std::uint64_t end = i + 1 == parts ? source_size : begin + chunk;
    // The writer keeps a part's error for Complete.
    writer.CopyPart(static_cast<int>(i) + 1, source_key,
                    source_etag.empty() ? head->etag : source_etag, begin,
                    end - begin, [](const Result<CompletedPart>&) {});
  }
  Result<ObjectInfo> done = co_await writer.Complete(std::move(condition));
  co_return done;
}

}  // namespace ckptfs
